import ArgumentParser
import EagleCluster
import EagleRecipe
import EagleTensor
import EagleTraining
import Foundation

/// The recipe, and settings that replace some of it.
struct RecipeOptions: ParsableArguments {
  @Argument(help: "The recipe: a YAML file.")
  var recipe: String

  @Option(name: .customLong("set"), help: "Replace one setting, for example --set train.epochs=2. May be repeated.")
  var overrides: [String] = []

  /// Joins the other ranks and runs `body`. When one rank fails, it says so and ends all of them.
  func run(_ body: (RecipeRun) throws -> Void) throws {
    let cluster = try Cluster.connect()
    do {
      Parallel.threadCount = try Cluster.defaultThreads(for: cluster)
      let progress: ProgressSink = cluster.isRoot ? TerminalProgress() : SilentProgress()
      let run = try RecipeRun(try Recipe.load(path: recipe, overrides: overrides), cluster: cluster, progress: progress)
      progress.say(run.description)
      try body(run)
      try cluster.finish()
    } catch {
      let rank = cluster.size > 1 ? "rank \(cluster.rank): " : ""
      FileHandle.standardError.write(Data("Error: \(rank)\(error)\n".utf8))
      cluster.abort(code: 1)
      throw ExitCode.failure
    }
  }
}
