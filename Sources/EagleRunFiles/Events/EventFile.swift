import Foundation

/// Scalars for TensorBoard: `tensorboard/events.out.tfevents.*` of a run, TFRecord frames around `Event` messages.
///
/// Each start of the program writes a file of its own, since a reader that is watching keeps its offset in the old one.
/// Its second event is a session start, by which readers drop what earlier files hold of the steps that are done again.
package final class EventFile {
  package struct Scalar: Equatable {
    let tag: String
    let value: Double
  }

  private let file: FileHandle

  /// Begins a file for the steps after optimiser step `step`.
  package init(folder: String, after step: Int) throws {
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    // Readers take the files of a folder in the order of their names.
    let name = String(format: "events.out.tfevents.%017.6f.eagle-train", Date().timeIntervalSince1970)
    let path = "\(folder)/\(name)"
    try Data().write(to: URL(fileURLWithPath: path))
    file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
    var version = Self.event(step: 0)
    version.add(3, text: "brain.Event:2")
    var start = ProtobufMessage()
    start.add(1, integer: 1)
    // A run from its beginning does the evaluation at step 0 again, too.
    var session = Self.event(step: step == 0 ? 0 : step + 1)
    session.add(7, message: start)
    try file.write(contentsOf: Self.frame(version.bytes) + Self.frame(session.bytes))
  }

  deinit { try? file.close() }

  package func append(_ scalars: [Scalar], step: Int) throws {
    var summary = ProtobufMessage()
    for scalar in scalars where scalar.value.isFinite {
      var value = ProtobufMessage()
      value.add(1, text: scalar.tag)
      value.add(2, float: Float(scalar.value))
      summary.add(1, message: value)
    }
    var event = Self.event(step: step)
    event.add(5, message: summary)
    try file.write(contentsOf: Self.frame(event.bytes))
  }

  /// An event at the present time.
  private static func event(step: Int) -> ProtobufMessage {
    var event = ProtobufMessage()
    event.add(1, double: Date().timeIntervalSince1970)
    event.add(2, integer: step)
    return event
  }

  /// A TFRecord: the length, its checksum, the data, their checksum.
  private static func frame(_ data: [UInt8]) -> Data {
    let length = littleEndian(UInt64(data.count))
    return Data(length + littleEndian(CRC32C.masked(length)) + data + littleEndian(CRC32C.masked(data)))
  }
}

extension StepMetrics {
  package var scalars: [EventFile.Scalar] {
    [
      .init(tag: "loss", value: loss), .init(tag: "lr", value: lr), .init(tag: "grad_norm", value: gradNorm),
      .init(tag: "tokens_per_second", value: tokensPerSecond),
      .init(tag: "simulated_acceptance_length", value: simulatedAcceptanceLength),
    ] + .numbered("accuracy", accuracy) + .numbered("acceptance", acceptance)
      + .numbered("loss_by_position", lossByPosition ?? [])
  }
}

extension EvaluationRecord {
  package var scalars: [EventFile.Scalar] {
    var scalars = benchmarks.sorted { $0.key < $1.key }
      .map { EventFile.Scalar(tag: "acc_length/\($0.key)", value: $0.value.accLength) }
    if !benchmarks.isEmpty { scalars.append(.init(tag: "mean_acc_length", value: meanAccLength)) }
    guard let heldOut else { return scalars }
    return scalars + [
      .init(tag: "held_out/loss", value: heldOut.loss),
      .init(tag: "held_out/simulated_acceptance_length", value: heldOut.simulatedAcceptanceLength),
    ] + .numbered("held_out/accuracy", heldOut.accuracy)
  }
}

extension [EventFile.Scalar] {
  /// Values by position of the drafted token: `tag/1`, `tag/2`, ….
  fileprivate static func numbered(_ tag: String, _ values: [Double]) -> Self {
    values.enumerated().map { EventFile.Scalar(tag: "\(tag)/\($0 + 1)", value: $1) }
  }
}
