import EagleData
import EagleTensor
import Foundation
import Testing

@Suite struct RepeatsTests {
  /// The times of conversations of files with these weights.
  private func drawn(_ files: [(count: Int, weight: Double)]) -> (repeats: Repeats, times: [Int]) {
    var (repeats, times, random) = (Repeats(), [Int](), RandomSource(seed: 1))
    for file in files {
      let whole = Int(file.weight)
      for _ in 0..<file.count {
        let drawn = whole + (Double(random.uniform()) < file.weight - Double(whole) ? 1 : 0)
        // A conversation that is not sampled does not exist.
        if drawn == 0 { continue }
        repeats.add(times.count, times: drawn, whole: whole)
        times.append(drawn)
      }
    }
    return (repeats, times)
  }

  @Test("every conversation is repeated as often as its file's weight has given")
  func timesAreKept() throws {
    let files = [(40, 1.0), (100, 1.5), (7, 1.0), (30, 3.0), (50, 0.3), (90, 2.25), (60, 1.75), (64, 1.0), (1, 5.0)]
    let (repeats, times) = drawn(files)
    #expect(repeats.times(count: times.count) == times && repeats.fits(count: times.count))
    let back = try JSONDecoder().decode(Repeats.self, from: JSONEncoder().encode(repeats))
    #expect(back == repeats && back.times(count: times.count) == times)
    #expect(!repeats.fits(count: times.count - 1))
  }

  @Test("a fractional weight takes no more than two bits a conversation, on disk as in memory")
  func aFractionIsSmall() throws {
    let (repeats, times) = drawn([(100_000, 1.5)])
    #expect(times.count { $0 == 2 } > 49_000)
    #expect(try JSONEncoder().encode(repeats).count < 100_000 / 4)
  }

  @Test("weights of 1 and below, and whole weights, take nothing that grows")
  func wholeWeightsAreRuns() throws {
    for weight in [1.0, 0.5, 3.0] {
      #expect(try JSONEncoder().encode(drawn([(100_000, weight)]).repeats).count < 100, "weight \(weight)")
    }
  }
}
