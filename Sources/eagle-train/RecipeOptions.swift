import ArgumentParser
import EagleCluster
import EagleCore
import EagleRecipe
import EagleRun
import EagleServer

/// The recipe, and settings that replace some of it.
struct RecipeOptions: ParsableArguments {
  @Argument(help: "The recipe: a YAML file.")
  var recipe: String

  @Option(name: .customLong("set"), help: "Replace one setting, for example --set train.epochs=2. May be repeated.")
  var overrides: [String] = []

  /// Runs `body` on all ranks of the job. A signal asks it to stop.
  func run(_ body: (RecipeRun) throws -> Void) throws {
    let stop = StopRequest()
    // Before MPI starts threads of its own, which inherit who listens to signals.
    let signals = StopSignals(stop)
    try Job.run { cluster in
      signals.isToTell = cluster.isRoot
      let progress: ProgressSink = cluster.isRoot ? TerminalProgress() : SilentProgress()
      let run = try RecipeRun(
        try Recipe.load(path: recipe, overrides: overrides), cluster: cluster, progress: progress, stop: stop)
      progress.say(run.description)
      try body(run)
    }
  }
}
