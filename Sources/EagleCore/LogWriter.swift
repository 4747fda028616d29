import Foundation

/// Writes a log whose reader may be slow or gone, and delays its callers by `patience` at most.
///
/// A separate thread writes. Callers wait until their text is written, but at most for `patience`; from then on they
/// leave their text in a bounded queue, until the queue has been written. Text that does not fit, or that the system
/// refuses, is lost; the next text that can be written is preceded by the number of those that were lost.
package final class LogWriter: @unchecked Sendable {
  /// The longest wait for a text.
  package static let patience = 0.2  // s
  /// Bytes that the queue holds.
  package static let capacity = 64 << 10

  private struct Entry {
    let bytes: [UInt8]
    /// Texts before this one that were lost since the queue was full.
    let lostBefore: Int
  }

  private let descriptor: Descriptor
  private let condition = MonotonicCondition()
  // Guarded by `condition`.
  private var queue: [Entry] = []
  private var queuedBytes = 0
  private var lost = 0
  private var (accepted, done) = (0, 0)
  private var isStuck = false
  private var isStarted = false
  // Used by the writing thread alone.
  private var unreported = 0
  private var isWithinLine = false

  package init(descriptor: Int32) { self.descriptor = Descriptor(descriptor) }

  /// Writes a text, or queues it, or loses it where the queue is full.
  package func write(_ bytes: [UInt8]) {
    condition.lock()
    defer { condition.unlock() }
    guard queuedBytes + bytes.count <= Self.capacity || queue.isEmpty else {
      lost += 1
      return
    }
    queue.append(Entry(bytes: bytes, lostBefore: lost))
    (queuedBytes, lost, accepted) = (queuedBytes + bytes.count, 0, accepted + 1)
    startIfNeeded()
    condition.broadcast()
    if !isStuck { wait(for: accepted) }
  }

  /// Waits once more for the queue, at the end of the program.
  package func flush() {
    condition.lock()
    defer { condition.unlock() }
    wait(for: accepted)
  }

  /// Waits until the text of this number, counted from 1, and those before it are written.
  private func wait(for number: Int) {
    let end = MonotonicCondition.Deadline(in: Self.patience)
    while done < number {
      guard condition.wait(until: end) else {
        isStuck = done < number
        return
      }
    }
  }

  /// Starts the thread with all signals blocked: they are for the threads that await them.
  private func startIfNeeded() {
    if isStarted { return }
    isStarted = true
    var (all, before) = (sigset_t(), sigset_t())
    sigfillset(&all)
    pthread_sigmask(SIG_SETMASK, &all, &before)
    let thread = Thread { [self] in while true { writeNext() } }
    thread.name = "log"
    thread.stackSize = 256 << 10
    thread.start()
    pthread_sigmask(SIG_SETMASK, &before, nil)
  }

  private func writeNext() {
    condition.lock()
    while queue.isEmpty { condition.wait() }
    let entry = queue[0]
    condition.unlock()
    put(entry)
    condition.lock()
    queue.removeFirst()
    (queuedBytes, done) = (queuedBytes - entry.bytes.count, done + 1)
    if queue.isEmpty { isStuck = false }
    condition.broadcast()
    condition.unlock()
  }

  private func put(_ entry: Entry) {
    unreported += entry.lostBefore
    if unreported > 0 {
      let report =
        "\(isWithinLine ? "\n" : "")(\(Format.count(unreported, "line")) of this log could not be written)\n"
      if send(Array(report.utf8)) { unreported = 0 }
    }
    if !send(entry.bytes) { unreported += 1 }
  }

  private func send(_ bytes: [UInt8]) -> Bool {
    let (count, code) = descriptor.write(bytes[...])
    if count > 0 { isWithinLine = bytes[count - 1] != UInt8(ascii: "\n") }
    return code == nil
  }
}
