import EagleCaptureStore
import EagleCluster
import EagleCore
import EagleDraft
import EagleModels
import EagleTensor
import Foundation

/// Provides captured conversations to the ranks of a run: a rank reads those that its node stores, and receives those
/// of other nodes over the network before the step that needs them.
final class ConversationFeed {
  private let source: StateSource
  private let cluster: any Communicator
  /// The ranks that can read each shard; nil if every rank can read every shard.
  private let holders: [[Int]]?
  /// The conversations that other nodes have sent for the current batch.
  private var fetched: [ConversationPart: CapturedConversation] = [:]

  /// The prefetch for a later call of `read`.
  private var ahead: ReadAhead?

  /// Collective.
  init(_ source: StateSource, cluster: any Communicator) throws {
    self.source = source
    self.cluster = cluster
    guard case .store(let store) = source else {
      holders = nil
      return
    }
    let all = try cluster.allGather(Data(store.holds.map { $0 ? 1 : 0 }))
    let holders = store.holds.indices.map { shard in all.indices.filter { all[$0][all[$0].startIndex + shard] == 1 } }
    if let lost = holders.firstIndex(where: \.isEmpty) {
      throw LocatedError(
        path: "\(store.folder)/\(store.manifest.shards[lost].file)", problem: "no node has this shard",
        advice: "run the capture again; it writes what is missing")
    }
    self.holders = holders.allSatisfy { $0.count == cluster.size } ? nil : holders
  }

  /// Exchanges the conversations that ranks need and their nodes do not store. Collective.
  ///
  /// - Parameters:
  ///   - partitions: the parts that each rank needs
  ///   - clock: measures reading for other ranks and waiting for them
  func fetch(_ partitions: [[ConversationPart]], _ clock: PhaseClock) throws {
    guard let holders, case .store(let store) = source else { return }
    fetched = [:]
    // All ranks compute the same sender for a conversation; the ranks that store it are used round-robin.
    func sender(_ part: ConversationPart, to rank: Int) -> Int? {
      let ranks = holders[store.shard(of: part.conversation)]
      return ranks.contains(rank) ? nil : ranks[part.conversation % ranks.count]
    }
    let messages = try clock.measure(.reading) {
      try partitions.enumerated().map { rank, parts in
        try parts.filter { sender($0, to: rank) == cluster.rank }.reduce(into: Data()) {
          $0 += try store.read(conversation: $1.conversation, states: $1.states).encoded
        }
      }
    }
    let received = try clock.measure(.communication) { try cluster.allToAll(messages) }
    for (from, message) in received.enumerated() where from != cluster.rank {
      var bytes = message[...]
      for part in partitions[cluster.rank] where sender(part, to: cluster.rank) == from {
        fetched[part] = try CapturedConversation(decoding: &bytes)
      }
    }
  }

  /// Prefetches the parts of the next call of `read` on another thread. Parts with more tokens than a micro-batch are
  /// not prefetched, because the states of a long conversation would be in memory twice.
  func prefetch(_ parts: [ConversationPart]) {
    guard case .store(let store) = source, ahead?.parts != parts else { return }
    let tokens = parts.reduce(0) { $0 + ($1.states ?? store.lengths[$1.conversation]) }
    guard tokens <= BatchPlan.microBatchTokens else { return }
    let held = parts.filter { holders?[store.shard(of: $0.conversation)].contains(cluster.rank) ?? true }
    ahead = ReadAhead(parts, held: held, from: store)
  }

  /// The result of `prefetch` for these parts.
  private func prefetched(_ parts: [ConversationPart]) throws -> [ConversationPart: CapturedConversation] {
    guard let ahead, ahead.parts == parts else { return [:] }
    self.ahead = nil
    return try ahead.wait()
  }

  /// The conversation of each part, with the states that the part needs: read from the store, received from another
  /// node, or computed by the target.
  func read(_ parts: [ConversationPart], _ clock: PhaseClock) throws -> [CapturedConversation] {
    switch source {
    case .store(let store):
      try clock.measure(.reading) {
        let here = try prefetched(parts)
        return try parts.map {
          try here[$0] ?? fetched[$0] ?? store.read(conversation: $0.conversation, states: $0.states)
        }
      }
    case .online(let states): try clock.measure(.target) { try states.read(parts) }
    }
  }
}

extension CapturedConversation {
  /// The conversation as bytes between ranks of one run: lengths, then the arrays one after the other.
  var encoded: Data {
    var data = Data()
    let header = [
      ids.count, lastHidden.rows, lastHidden.columns, auxHidden.columns, teacherArgmax == nil ? 0 : 1,
      teacherLogSum == nil ? 0 : 1,
    ]
    for number in header { withUnsafeBytes(of: Int64(number)) { data.append(contentsOf: $0) } }
    ids.withUnsafeBytes { data.append(contentsOf: $0) }
    data.append(contentsOf: lossMask)
    for states in [auxHidden, lastHidden] { data.append(contentsOf: UnsafeRawBufferPointer(states.rawBytes)) }
    teacherArgmax?.withUnsafeBytes { data.append(contentsOf: $0) }
    teacherLogSum?.withUnsafeBytes { data.append(contentsOf: $0) }
    return data
  }

  /// Decodes one conversation from the start of `data`.
  ///
  /// - Throws: when the data is shorter than its lengths require
  init(decoding data: inout Data.SubSequence) throws {
    let header = try Self.take(6, Int64.self, &data).map(Int.init)
    let (tokens, rows) = (header[0], header[1])
    let ids = try Self.take(tokens, Int32.self, &data)
    let mask = try Self.take(tokens, UInt8.self, &data)
    let aux = try Self.states([rows, header[3]], &data)
    let last = try Self.states([rows, header[2]], &data)
    self.init(
      ids: ids, lossMask: mask, auxHidden: aux, lastHidden: last,
      teacherArgmax: try header[4] == 1 ? Self.take(rows, Int32.self, &data) : nil,
      teacherLogSum: try header[5] == 1 ? Self.take(rows, Float.self, &data) : nil)
  }

  private static func states(_ shape: [Int], _ data: inout Data.SubSequence) throws -> Tensor {
    let tensor = Tensor(shape, dtype: .bfloat16)
    tensor.rawBytes.copyBytes(from: try bytes(tensor.byteCount, &data))
    return tensor
  }

  private static func take<Element: BitwiseCopyable>(
    _ count: Int, _: Element.Type, _ data: inout Data.SubSequence
  ) throws -> [Element] {
    let bytes = try bytes(count * MemoryLayout<Element>.stride, &data)
    return [Element](unsafeUninitializedCapacity: count) { buffer, filled in
      UnsafeMutableRawBufferPointer(buffer).copyBytes(from: bytes)
      filled = count
    }
  }

  private static func bytes(_ count: Int, _ data: inout Data.SubSequence) throws -> Data.SubSequence {
    guard count >= 0, data.count >= count else {
      throw LocatedError(path: "captured conversations of another rank", problem: "are shorter than it has announced")
    }
    defer { data = data.dropFirst(count) }
    return data.prefix(count)
  }
}
