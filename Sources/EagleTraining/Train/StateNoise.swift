import EagleCaptureStore
import EagleModels
import EagleTensor

/// Noise on captured states while a head trains: x' = x (1 + s u), u uniform in [-1, 1), sampled anew for each element and epoch.
///
/// It is relative, because the columns of captured states differ in size by a factor of hundreds. The teacher's states stay as
/// they are. The noise of a conversation follows from seed, epoch and its number, so ranks and micro-batches do not change it.
struct StateNoise {
  let share: Float  // s
  let seed: UInt64
  let epoch: Int

  func applied(to conversation: CapturedConversation, number: Int) -> CapturedConversation {
    var random = RandomSource(seed: seed, purpose: "state noise of conversation \(number) in epoch \(epoch)")
    let states = Tensor(conversation.auxHidden.shape)
    Elementwise.copy(conversation.auxHidden.float32(), into: states)
    for i in 0..<states.count { states.floats[i] *= 1 + share * (2 * random.uniform() - 1) }
    return CapturedConversation(
      ids: conversation.ids, lossMask: conversation.lossMask, auxHidden: states.bfloat16(),
      lastHidden: conversation.lastHidden, teacherArgmax: conversation.teacherArgmax,
      teacherLogSum: conversation.teacherLogSum)
  }
}
