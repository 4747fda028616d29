import AsyncHTTPClient
import EagleCore
import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix

/// GET requests to a hub: lists in JSON, and files that are streamed to disk.
///
/// A busy server (429), a server error (5xx) and a broken connection are retried; a download resumes where it was
/// interrupted. The token is sent only to the hub, not to the hosts to which it redirects.
struct HubClient: Sendable {
  private let settings: HubSettings
  let check: @Sendable () throws -> Void
  private let http: HTTPClient

  /// The maximum seconds for a list, and between two bytes of a file.
  private static let timeout: Int64 = 60
  private static let mostListBytes = 64 << 20
  private static let mostRedirects = 5

  /// - Parameter check: called during a download; an error that it throws ends the download
  init(_ settings: HubSettings, check: @escaping @Sendable () throws -> Void) {
    (self.settings, self.check) = (settings, check)
    var configuration = HTTPClient.Configuration(
      redirectConfiguration: .disallow,
      timeout: .init(connect: .seconds(10), read: .seconds(Self.timeout)))
    configuration.httpVersion = .http1Only
    http = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
  }

  func close() async { try? await http.shutdown() }

  /// The reason for a missing response.
  enum Failure: Error {
    /// A transient failure of the network or the server: a retry may succeed.
    case passing(String, retryAfter: String? = nil)
    case status(Int, String)
    case odd(String)
  }

  /// A list, with the address of its next page.
  func list(_ path: String) async throws -> (JSON, next: String?) {
    try await retried(path) {
      let response = try await get("\(settings.endpoint.absoluteString)\(path)", from: 0)
      let bytes = try await response.body.collect(upTo: Self.mostListBytes)
      guard let json = try? JSON.read(Array(bytes.readableBytesView)) else {
        throw Failure.odd("its response is not JSON")
      }
      return (json, try Self.next(response.headers["Link"]).map { try place(of: $0) })
    }
  }

  /// The path below the endpoint and the query of the next page.
  ///
  /// - Throws: for a page that is not on the hub
  private func place(of text: String) throws -> String {
    let base = settings.endpoint.path
    guard let url = URLComponents(string: text), url.host == nil || isHub(text),
      url.percentEncodedPath.hasPrefix(base)
    else { throw Failure.odd("the next page of its list lies elsewhere, at \(text.prefix(200))") }
    return url.percentEncodedPath.dropFirst(base.count) + (url.percentEncodedQuery.map { "?\($0)" } ?? "")
  }

  /// `<URL>; rel="next"` of a Link header.
  private static func next(_ links: [String]) -> String? {
    links.joined(separator: ",").firstMatch(of: /<([^>]*)>[^<]*rel="?next"?/).map { String($0.1) }
  }

  /// Downloads the missing rest of a file, or all of it if the hub does not support ranges.
  ///
  /// - Parameters:
  ///   - path: the file on the hub
  ///   - part: the path of the partial file, which may not exist
  ///   - size: the size of the whole file in bytes
  ///   - each: called repeatedly with the number of bytes so far
  func download(_ path: String, to part: String, size: Int, each: @Sendable @escaping (Int) -> Void) async throws {
    var best = -1
    while true {
      do {
        return try await retried(path) { try await append(path, to: part, size: size, each: each) }
      } catch Failure.passing(let reason, _) {
        // Retries continue as long as each of them makes progress.
        let now = Disk.size(of: part) ?? 0
        guard now > best else { throw Failure.passing(reason) }
        best = now
      }
    }
  }

  private func append(
    _ path: String, to part: String, size: Int, each: @Sendable (Int) -> Void
  ) async throws {
    var start = Disk.size(of: part) ?? 0
    if start > size { start = 0 }
    guard start < size || Disk.size(of: part) == nil else { return }
    let response = try await get("\(settings.endpoint.absoluteString)\(path)", from: start)
    var count = response.status == .partialContent ? start : 0
    let file = try OutputFile(path: part, keeping: count)
    for try await bytes in response.body {
      count += bytes.readableBytes
      guard count <= size else { throw Failure.odd("it sends more than the \(size) bytes that it lists") }
      try bytes.withUnsafeReadableBytes { try file.write($0) }
      try check()
      each(count)
    }
    guard count == size else { throw Failure.passing("the connection ended at byte \(count) of \(size)") }
  }

  /// The response after all redirects, with status 200 or 206.
  private func get(_ text: String, from start: Int) async throws -> HTTPClientResponse {
    var url = text
    for _ in 0...Self.mostRedirects {
      var request = HTTPClientRequest(url: url)
      request.headers.add(name: "User-Agent", value: "eagle-train")
      if start > 0 { request.headers.add(name: "Range", value: "bytes=\(start)-") }
      if let token = settings.token, isHub(url) {
        request.headers.add(name: "Authorization", value: "Bearer \(token)")
      }
      let response: HTTPClientResponse
      do {
        response = try await http.execute(request, deadline: .now() + .hours(24))
      } catch {
        throw Self.failure(error, isOfConnection: true)
      }
      switch response.status.code {
      case 200, 206: return response
      case 301, 302, 303, 307, 308:
        guard let place = response.headers.first(name: "Location"),
          let next = URL(string: place, relativeTo: URL(string: url))?.absoluteURL,
          next.scheme == "https" || next.scheme == "http" && !url.hasPrefix("https:")
        else { throw Failure.odd("it redirects nowhere, or to a place without encryption") }
        url = next.absoluteString
      case 408, 425, 429, 500...:
        throw Failure.passing(
          "HTTP \(response.status.code)", retryAfter: response.headers.first(name: "Retry-After"))
      case 416:
        // The partial file is not a prefix of that file.
        throw Failure.status(416, "the part that is here is none of the file")
      default:
        let bytes = try? await response.body.collect(upTo: 1 << 16)
        let message = bytes.flatMap { ErrorBody.message(Array($0.readableBytesView)) }
        throw Failure.status(Int(response.status.code), message ?? response.status.reasonPhrase)
      }
    }
    throw Failure.odd("it redirects more than \(Self.mostRedirects) times")
  }

  private func isHub(_ text: String) -> Bool {
    guard let url = URL(string: text) else { return false }
    let hub = settings.endpoint
    return url.host == hub.host && url.port == hub.port && url.scheme == hub.scheme
  }

  private func retried<Result: Sendable>(_ what: String, _ body: () async throws -> Result) async throws -> Result {
    var attempt = 1
    while true {
      do {
        return try await body()
      } catch {
        let failure = Self.failure(error)
        guard case .passing(_, let retryAfter)? = failure as? Failure, attempt < settings.policy.attempts else {
          throw failure
        }
        var left = settings.policy.delay(afterAttempt: attempt, retryAfter: retryAfter)
        while left > 0 {
          try check()
          try await Task.sleep(nanoseconds: UInt64(min(left, 0.2) * 1e9))
          left -= 0.2
        }
        attempt += 1
      }
    }
  }

  /// A broken connection is a transient failure; an error of the local disk, or a stop, is not.
  ///
  /// - Parameter isOfConnection: whether the error is of a request before its response, such as a TLS handshake that
  ///   failed
  private static func failure(_ error: any Error, isOfConnection: Bool = false) -> any Error {
    switch error {
    case is CancellationError, is Failure: error
    case is NIOTooManyBytesError: Failure.odd("its response is too long")
    case is HTTPClientError, is NIOConnectionError, is IOError, is ChannelError, is HTTPParserError,
      _ where isOfConnection:
      Failure.passing(ConnectionWords.words(for: error, seconds: timeout))
    default: error
    }
  }
}

extension HubClient.Failure {
  /// The reason in readable words.
  var reason: String {
    switch self {
    case .passing(let reason, _), .odd(let reason): reason
    case .status(let status, let reason): "HTTP \(status): \(reason)"
    }
  }
}
