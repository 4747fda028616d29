import EagleCluster
import Foundation
import Testing

@Suite struct SoloCommunicatorTests {
  @Test("alone every collective call is the identity")
  func aloneEveryCallIsTheIdentity() throws {
    let solo: any Communicator = SoloCommunicator()
    #expect(solo.isRoot && solo.size == 1 && solo.nodes == [0])
    #expect(try solo.allReduceSum([Float(1), 2]) == [1, 2])
    #expect(try solo.allGather(Data([7])) == [Data([7])])
    #expect(try solo.broadcast(data: Data([1, 2])) == Data([1, 2]))
    #expect(try solo.anyTrue(true))
    try solo.agree(on: "x", about: "the recipe")
    try solo.barrier()
    try solo.finish()
  }
}
