import CMPI
import EagleCluster
import Foundation

/// Heartbeats: every rank sends them to rank 0, and rank 0 to all. Only the MPI thread may use it.
final class RankWatch {
  /// The messages exchanged with another rank.
  private final class Peer {
    let rank: Int
    var receiving = eagle_mpi_request()
    var sending: eagle_mpi_request?
    // What is sent and received needs addresses that stay.
    let incoming = UnsafeMutablePointer<Beat>.allocate(capacity: 1)
    let outgoing = UnsafeMutablePointer<Beat>.allocate(capacity: 1)

    init(rank: Int) {
      self.rank = rank
      incoming.initialize(to: Beat())
      outgoing.initialize(to: Beat())
    }
  }

  private static let look = 0.05  // s between two looks at the messages
  private static let tag: Int32 = 7

  var limits: RankLimits {
    get { ledger.limits }
    set { ledger.limits = newValue }
  }
  private let context: MPIThread.Context
  private let names: [String]
  private let peers: [Peer]
  private var ledger: RankLedger
  private var lastLook: Double
  private var lastBeat = 0.0

  init(_ context: MPIThread.Context, names: [String], limits: RankLimits) {
    self.context = context
    self.names = names
    lastLook = Self.now
    let others = context.rank == 0 ? Array(1..<context.size) : [0]
    ledger = RankLedger(ranks: [context.rank] + others, limits: limits, now: lastLook)
    peers = others.map { Peer(rank: $0) }
    for peer in peers { receive(peer) }
  }

  private static var now: Double { Double(DispatchTime.now().uptimeNanoseconds) * 1e-9 }

  private static let bytes = Int32(MemoryLayout<Beat>.size)

  private func receive(_ peer: Peer) {
    _ = eagle_mpi_receive(
      peer.incoming, Self.bytes, Int32(peer.rank), Self.tag, context.control, &peer.receiving)
  }

  /// Sends and reads what is due.
  ///
  /// - Returns: the rank to give the run up for, and why; nil while there is none
  func look(ticks: Int64, isWaiting: Bool) -> String? {
    let now = Self.now
    guard now - lastLook >= Self.look else { return nil }
    // A process that was stopped itself has missed the others' beats.
    if now - lastLook > limits.silence / 4 { ledger.forgive(at: now) }
    lastLook = now
    let own = Beat(ticks: ticks, isWaiting: isWaiting)
    ledger.note(own, of: context.rank, at: now)
    for peer in peers { read(peer, now) }
    if now - lastBeat >= min(2, limits.silence / 8) {
      lastBeat = now
      for peer in peers { send(own, to: peer) }
    }
    return complaint(now)
  }

  private func read(_ peer: Peer, _ now: Double) {
    while (try? testMPI(&peer.receiving, "MPI_Test")) == true {
      ledger.note(peer.incoming.pointee, of: peer.rank, at: now)
      receive(peer)
    }
  }

  private func send(_ beat: Beat, to peer: Peer) {
    if var request = peer.sending {
      // A rank that reads nothing gets no second message before it has received the first.
      guard (try? testMPI(&request, "MPI_Test")) == true else {
        peer.sending = request
        return
      }
    }
    peer.outgoing.pointee = beat
    var request = eagle_mpi_request()
    let status = eagle_mpi_send(
      peer.outgoing, Self.bytes, Int32(peer.rank), Self.tag, context.control, &request)
    peer.sending = status == 0 ? request : nil
  }

  private func complaint(_ now: Double) -> String? {
    // Only rank 0 hears from all, and so only it knows who waits for whom.
    let verdict = ledger.silent(at: now) ?? (context.rank == 0 ? ledger.stalled : nil)
    switch verdict {
    case .silent(let rank):
      return "\(names[rank]) has not been heard from for \(Int(limits.silence)) s: its process is stopped or "
        + "gone, or the network is cut; all ranks end now, and the same command goes on from the last checkpoint"
    case .stalled(let rank, let waiting):
      return "\(names[rank]) has made no progress for \(Int(limits.stall)) s while \(names[waiting]) waits; all ranks "
        + "end now: look at the first one's disks and memory, or raise cluster.stall_timeout"
    case nil:
      return nil
    }
  }

  /// Ends the exchange of heartbeats; no rank may send any more.
  func stop() {
    for peer in peers {
      eagle_mpi_cancel(&peer.receiving)
      if var request = peer.sending { while (try? testMPI(&request, "MPI_Test")) == false { usleep(100) } }
    }
  }
}
