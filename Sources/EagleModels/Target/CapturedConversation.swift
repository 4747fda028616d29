import EagleTensor

// T tokens · S rows of states, T of them or the first few · n captured layers · H hidden.

/// One conversation with the target's states.
package struct CapturedConversation: Sendable {
  package let ids: [Int32]  // [T]
  package let lossMask: [UInt8]  // [T]
  package let auxHidden: Tensor  // bfloat16 [S, n H], one captured layer after the other
  package let lastHidden: Tensor  // bfloat16 [S, H], after the final norm
  package let teacherArgmax: [Int32]?  // [S]; nil when the shard has none
  package let teacherLogSum: [Float]?  // [S]; nil when the shard has none

  package init(
    ids: [Int32], lossMask: [UInt8], auxHidden: Tensor, lastHidden: Tensor, teacherArgmax: [Int32]?,
    teacherLogSum: [Float]?
  ) {
    self.ids = ids
    self.lossMask = lossMask
    self.auxHidden = auxHidden
    self.lastHidden = lastHidden
    self.teacherArgmax = teacherArgmax
    self.teacherLogSum = teacherLogSum
  }
}
