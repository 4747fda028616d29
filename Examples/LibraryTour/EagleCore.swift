import EagleCore

/// A sink that prints the progress of a stage.
func showProgress() {
  final class Lines: ProgressSink {
    func advance(_ stage: String, done: Int, total: Int, unit: String, note: String) {
      print("\(stage): \(done) of \(total) \(unit)")
    }
    func finish(_ stage: String, _ summary: String) { print("\(stage): \(summary)") }
    func say(_ line: String) { print(line) }
  }

  let progress: any ProgressSink = Lines()
  progress.advance("prepare", done: 100, total: 400, unit: "conversations", note: "")
  progress.say("2 conversations are longer than 2048 tokens")
  progress.finish("prepare", "398 conversations")
}
