import EagleCaptureStore
import EagleCluster
import EagleCore
import EagleDraft
import EagleModels
import EagleTensor
import Foundation

// T tokens of a conversation · N rows of all · H hidden size.

/// The target's forward pass that produces the captured states.
package struct StateCapture {
  package let attributes: CaptureAttributes
  /// The precision in which this rank's processor computes states.
  package let precision: ComputePrecision
  let target: TargetModel

  /// - Parameter precision: the precision that the processor computes; nil determines it
  /// - Throws: for layers that the target does not have
  package init(target: TargetModel, config: CaptureConfig, precision: ComputePrecision? = nil) throws {
    let layers = config.layers(of: target.shape)
    try target.shape.validate(captureLayers: layers, path: "capture.layers")
    self.target = target
    self.precision = precision ?? target.precision.computed
    attributes = CaptureAttributes(
      hiddenSize: target.shape.hiddenSize, vocabularySize: target.shape.vocabularySize, layers: layers,
      targetFingerprint: target.fingerprint, format: config.states,
      precision: self.precision)
  }

  /// Throws if ranks compute states of different precision, as processors with and without AVX-512 do in bf16.
  /// Collective.
  package func agreeOnPrecision(_ cluster: any Communicator) throws {
    let all = try cluster.allGather(Data(precision.rawValue.utf8)).map { String(decoding: $0, as: UTF8.self) }
    guard let other = all.firstIndex(where: { $0 != all[0] }) else { return }
    throw LocatedError(
      path: "target.precision",
      problem: "rank 0 computes states in \(all[0]), rank \(other) in \(all[other]): their processors differ",
      advice: "set target.precision to fp32, which every processor computes")
  }

  /// The states of several conversations, concatenated.
  struct Rows {
    /// The rows of each conversation.
    let ranges: [Range<Int>]
    let aux: Tensor  // bfloat16 [N, nH]
    let last: Tensor  // bfloat16 [N, H]
  }

  /// - Parameters:
  ///   - conversations: token ids of each
  ///   - eachLayer: called after each layer of the target
  func run(_ conversations: [[Int32]], eachLayer: () -> Void) -> Rows {
    var ranges: [Range<Int>] = []
    for ids in conversations {
      let start = ranges.last?.upperBound ?? 0
      ranges.append(start..<start + ids.count)
    }
    let states = target.prefill(
      conversations.flatMap { $0 }, segments: ranges.map { Segment(rows: $0) }, captureLayers: attributes.layers,
      eachLayer: eachLayer)
    return Rows(ranges: ranges, aux: states.auxHidden!.bfloat16(), last: states.lastHidden.bfloat16())
  }

  /// Argmax and log-sum-exp over the full vocabulary, computed from the states as they are stored.
  func facts(_ last: Tensor) -> (argmax: [Int32], logSum: [Float]) {
    FullVocabulary.summarize(
      stored(last).float32(), head: target.head, softcap: target.shape.logitsSoftcap, target.precision)
  }

  private func stored(_ states: Tensor) -> Tensor {
    attributes.format.asStored(states, hiddenSize: attributes.hiddenSize)
  }

  /// The same conversations as from a store, but without argmax and log-sum-exp, which training computes when it needs
  /// them.
  ///
  /// - Parameters:
  ///   - conversations: each with the number of rows of states that are needed, from the first row
  ///   - eachLayer: called after each layer of the target
  func captured(
    _ conversations: [(ids: [Int32], mask: [UInt8], states: Int)], eachLayer: () -> Void
  ) -> [CapturedConversation] {
    let rows = run(conversations.map { Array($0.ids.prefix($0.states)) }, eachLayer: eachLayer)
    let (aux, last) = (stored(rows.aux), stored(rows.last))
    return zip(conversations, rows.ranges).map { conversation, range in
      CapturedConversation(
        ids: conversation.ids, lossMask: conversation.mask, auxHidden: aux.slice(range), lastHidden: last.slice(range),
        teacherArgmax: nil, teacherLogSum: nil)
    }
  }
}

extension ComputePrecision {
  /// The precision in which this processor computes GEMMs if this one is requested.
  var computed: ComputePrecision { Matmul.takesBFloat16(self) ? .bf16 : .fp32 }
}
