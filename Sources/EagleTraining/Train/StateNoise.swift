import EagleCaptureStore
import EagleModels
import EagleTensor

/// Noise on captured states while a head trains: x' = x (1 + s u), u uniform in [-1, 1), sampled anew for each element
/// and epoch.
///
/// It is relative, because the columns of captured states differ in size by a factor of hundreds. The teacher's states
/// have no noise. The noise of a row depends only on seed, epoch, conversation and row, not on ranks and micro-batches.
struct StateNoise {
  let share: Float  // s
  let seed: UInt64
  let epoch: Int

  func applied(to conversation: CapturedConversation, number: Int) -> CapturedConversation {
    var seeds = RandomSource(seed: seed, purpose: "state noise of conversation \(number) in epoch \(epoch)")
    let states = conversation.auxHidden.float32()
    let (values, columns, rows) = (states.floats, states.columns, (0..<states.rows).map { _ in seeds.next() })
    Parallel.forEachRange(rows.count, grain: 16) { range in
      for row in range {
        var random = RandomSource(seed: rows[row])
        for i in row * columns..<(row + 1) * columns { values[i] *= 1 + share * (2 * random.uniform() - 1) }
      }
    }
    return CapturedConversation(
      ids: conversation.ids, lossMask: conversation.lossMask, auxHidden: states.bfloat16(),
      lastHidden: conversation.lastHidden, teacherArgmax: conversation.teacherArgmax,
      teacherLogSum: conversation.teacherLogSum)
  }
}
