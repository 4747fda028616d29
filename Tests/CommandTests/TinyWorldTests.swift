import EagleCore
import EagleModels
import EagleTensor
import Testing

/// Tests of the fixture of the other tests.
@Suite struct TinyWorldTests {
  @Test(
    "one character makes states non-finite from itself on, others do not",
    arguments: [(ComputePrecision.fp32, TargetModel.PassKind.prefill), (.bf16, .prefill), (.fp32, .decode)])
  func aCharacterOverflows(precision: ComputePrecision, kind: TargetModel.PassKind) throws {
    let world = try TinyWorld()
    try world.letCharacterOverflow()
    let target = try TargetModel(folder: world("target"), precision: precision)
    func finiteRows(_ text: String) -> [Bool] {
      let ids = text.utf8.map { Int32($0) }
      let states = target.run(kind, ids, segments: [Segment(rows: 0..<ids.count)], captureLayers: [0, 3, 7])
      return (0..<ids.count).map { row in
        states.auxHidden!.slice(row..<row + 1).values.allSatisfy(\.isFinite)
          && states.lastHidden.slice(row..<row + 1).values.allSatisfy(\.isFinite)
      }
    }
    #expect(finiteRows("apple 7") == [Bool](repeating: true, count: 7))
    // Rows before it may share a block of attention with it, in which 0 times NaN is NaN.
    #expect(finiteRows("apZ 7").suffix(3) == [false, false, false])
  }
}
