import EagleChat
import EagleClient
import EagleCore
import Foundation

/// Generation by a server: a fixed number of requests runs concurrently, and the next one is sent as soon as one ends.
/// A reference type, used by one thread.
final class ServedGeneration {
  /// The number of consecutive failed requests after which generation ends, because the server is not available any
  /// more.
  static let mostFailures = 16
  /// The number of consecutive rejected or failed requests after which generation ends, because the server accepts
  /// none.
  static let mostRefusals = 100

  private let model: ServedModel
  private let format: ChatFormat
  private let source: any DialogueSource
  private let responses = Mailbox<(id: Int, response: Result<JSON, RequestFailure>)>()
  private var inFlight: [Int: DialogueRequest] = [:]
  private var failuresInRow = 0
  private var refusalsInRow = 0
  /// Requests without a usable response, by reason.
  private(set) var failures = FailureTally()

  init(_ model: ServedModel, _ format: ChatFormat, _ source: some DialogueSource) {
    (self.model, self.format, self.source) = (model, format, source)
  }

  /// Runs until the source has no more requests.
  ///
  /// - Parameters:
  ///   - finished: called after each response
  ///   - passed: called several times a second
  /// - Throws: the errors of the closures and the source, and `LocatedError` when no request can succeed
  func run(finished: () throws -> Void, passed: () throws -> Void) throws {
    var hasMore = true
    while true {
      while hasMore, inFlight.count < model.concurrency {
        guard let request = try source.next() else {
          hasMore = false
          break
        }
        send(request)
        try passed()
      }
      if inFlight.isEmpty { return }
      for (id, response) in responses.receive(within: 0.1) {
        try take(response, id)
        try finished()
      }
      try passed()
    }
  }

  private func send(_ request: DialogueRequest) {
    inFlight[request.id] = request
    let served = ServedRequest(request, model: model.name, options: format.options, stopIDs: format.stopIDs)
    model.client.post(served.body, to: served.endpoint) { [responses] in responses.send((request.id, $0)) }
  }

  private func take(_ response: Result<JSON, RequestFailure>, _ id: Int) throws {
    guard let request = inFlight.removeValue(forKey: id) else {
      preconditionFailure("response \(id) is to none of \(inFlight.count) requests")
    }
    switch text(in: response, for: request) {
    case .success(let text):
      (failuresInRow, refusalsInRow) = (0, 0)
      if let more = try source.take(text, for: request) { send(more) }
    case .failure(let failure): try giveUp(request, because: failure)
    }
  }

  private func text(
    in response: Result<JSON, RequestFailure>, for request: DialogueRequest
  ) -> Result<GeneratedText, RequestFailure> {
    response.flatMap { response in
      do {
        return .success(try ServedText.read(response, for: request, format))
      } catch {
        return .failure(.unusable((error as? ServedText.Fault)?.reason ?? "\(error)"))
      }
    }
  }

  private func giveUp(_ request: DialogueRequest, because failure: RequestFailure) throws {
    switch failure {
    case .server(let error): throw error
    case .refused(let reason):
      failures.add(reason)
      refusalsInRow += 1
      try source.abandon(request, isFinal: true)
    case .exhausted(let reason), .unusable(let reason):
      failures.add(reason)
      failuresInRow += 1
      try source.abandon(request, isFinal: false)
    }
    let inRow = failuresInRow + refusalsInRow
    guard failuresInRow >= Self.mostFailures || inRow >= Self.mostRefusals else { return }
    let last = model.client.located(failure)
    throw LocatedError(
      path: last.path, problem: "\(inRow) requests in a row have no answer; the last: \(last.problem)",
      advice: "what is finished is kept: put the server in order and start again")
  }
}

/// Counts of requests without a usable response, by reason.
struct FailureTally: Codable {
  /// The maximum number of different reasons, since responses may contain any text.
  private static let mostReasons = 8

  private var counts: [String: Int] = [:]

  var total: Int { counts.values.reduce(0, +) }

  mutating func add(_ reason: String, count: Int = 1) {
    let isNew = counts[reason] == nil
    counts[isNew && counts.count >= Self.mostReasons ? "other reasons" : reason, default: 0] += count
  }

  mutating func add(_ others: FailureTally) {
    for (reason, count) in others.counts.sorted(by: { $0.key < $1.key }) { add(reason, count: count) }
  }

  /// `2 x HTTP 400: too long; 1 x HTTP 500`, the most frequent first.
  var description: String {
    counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map { "\($0.value) x \($0.key)" }
      .joined(separator: "; ")
  }
}
