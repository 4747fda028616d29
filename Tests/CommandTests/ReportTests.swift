import EagleRunFiles
import Foundation
import Testing

/// The report of a run, and the files that the report and other programs read.
@Suite(.serialized) struct ReportTests {
  /// The value of each `<data>` of a page.
  private func values(_ html: String) -> Set<String> {
    Set(html.matches(of: /<data value="([^"]*)">/).map { String($0.output.1) })
  }

  @Test("a run of two ranks writes its report, and eagle-train report reproduces it")
  func aRunOfTwoRanksLeavesAPageAndItsFiles() throws {
    let world = try TinyWorld()
    let arguments = ["run", "recipe.yaml", "--set", "train.tensorboard=true"]
    let outcome = try Command.runRanks(2, arguments, in: world.path)
    try #require(outcome.status == 0, "\(outcome.errors)")
    let html = String(decoding: try world.read("out/report.html"), as: UTF8.self)
    let values = values(html)
    let records = try EvaluationFile.read(world("out/evaluation.json"))
    for record in records {
      #expect(values.contains("\(record.meanAccLength)") && record.time != nil && record.seconds ?? 0 > 0)
      #expect(values.contains("\(record.heldOut!.loss)") && record.heldOut!.lossByPosition?.count == 3)
    }
    let timing = try #require(RunTiming.read(world("out/timing.json")))
    #expect(timing.starts.count == 1 && timing.starts[0].ranks.count == 2 && timing.starts[0].versions.count == 5)
    #expect(timing.parts.map(\.epoch) == [1, 2] && timing.parts[1].firstStep == timing.parts[0].lastStep + 1)
    for part in timing.parts {
      #expect(part.phases.count == 2)
      for (rank, phases) in part.phases.enumerated() {
        // Rank 1 waits for rank 0, and its wait begins before the seconds of rank 0, which these are.
        let own = phases.filter { rank == 0 || $0.key != "communication" }
        // because: phases follow each other on one thread, and both clocks are read at slightly other times
        #expect(own.values.reduce(0, +) < part.seconds * 1.01 && phases["backward"] ?? 0 > 0)
      }
    }
    #expect(html.contains("rank 1") && html.contains(timing.starts[0].ranks[0].host))
    let examples = ExamplesFile.read(world("out/examples.json"))
    #expect(examples.map(\.epoch) == [0, 1, 2] && examples.allSatisfy { $0.texts.map(\.benchmark) == ["few"] })
    // The shortest prompt of the file, and an answer of at most the recipe's length.
    #expect(examples[0].texts[0].prompt == "four" && (1...12).contains(examples[0].texts[0].tokens.count))
    #expect(try FileManager.default.contentsOfDirectory(atPath: world("out/tensorboard")).count == 1)

    let again = try Command.run("eagle-train", ["report", "out", "--output", "page.html"], in: world.path)
    #expect(again.status == 0, "\(again.errors)")
    #expect(try world.read("page.html") == world.read("out/report.html"))
    let byRecipe = try Command.run("eagle-train", ["report", "recipe.yaml", "--output", "other.html"], in: world.path)
    #expect(byRecipe.status == 0, "\(byRecipe.errors)")
    #expect(try world.read("other.html") == world.read("out/report.html"))
  }

  /// A killed and resumed run counts each step once, both in timing and in metrics.
  @Test("a resumed run has each step once in timing.json") func aResumedRunHasEachStepOnce() throws {
    let world = try TinyWorld()
    let settings = ["run", "recipe.yaml", "--set", "train.epochs=1", "--set", "evaluate.limit=1"]
    #expect(try Command.run("eagle-train", settings, in: world.path).status == 0)
    let longer = ["run", "recipe.yaml", "--set", "train.epochs=3", "--set", "evaluate.limit=1"]
    let outcome = try Command.run("eagle-train", longer, in: world.path)
    try #require(outcome.status == 0, "\(outcome.errors)")
    let timing = try #require(RunTiming.read(world("out/timing.json")))
    #expect(timing.starts.count == 2 && timing.starts[1].step == timing.parts[0].lastStep)
    #expect(timing.parts.map(\.epoch) == [1, 2, 3] && timing.parts.map(\.start) == [0, 1, 1])
    let steps = timing.parts.flatMap { Array($0.firstStep...$0.lastStep) }
    #expect(steps == Array(1...steps.count))
    #expect(!FileManager.default.fileExists(atPath: world("out/tensorboard")))
  }

  /// A failed write of the page does not end the run.
  @Test("a report that cannot be written does not end the run") func aPageThatCannotBeWrittenEndsNothing() throws {
    let world = try TinyWorld(conversations: 20)
    try FileManager.default.createDirectory(atPath: world("out/report.html/x"), withIntermediateDirectories: true)
    let outcome = try Command.run("eagle-train", ["run", "recipe.yaml", "--set", "train.epochs=1"], in: world.path)
    #expect(outcome.status == 0 && outcome.errors.contains("the report was not written"), "\(outcome.errors)")
    #expect(FileManager.default.fileExists(atPath: world("out/export/config.json")))
  }

  @Test("report refuses a folder without a run") func noRunNoPage() throws {
    let world = try TinyWorld(conversations: 1)
    let outcome = try Command.run("eagle-train", ["report", "nothing"], in: world.path)
    #expect(outcome.status == 1 && outcome.errors.contains("no run in this folder"), "\(outcome.errors)")
  }
}
