import EagleCore
import EagleStorage
import EagleTensor
import EagleText
import Foundation
import Testing

/// Faults that a run must survive: kills, signals, dead and silent ranks, damaged files, full disks, a second program.
///
/// `EAGLE_FAULT_KILLS` is the number of random kills; `make test-faults` asks for hundreds.
@Suite(.serialized) struct FaultTests {
  private static let kills = ProcessInfo.processInfo.environment["EAGLE_FAULT_KILLS"].flatMap { Int($0) } ?? 6
  private static let settings = [
    "--set", "train.epochs=12", "--set", "train.checkpoint_every=4", "--set", "evaluate.limit=1",
    "--set", "capture.shard_tokens=300",
  ]

  /// The result of an undisturbed run, and its duration in seconds.
  private struct Reference {
    let weights: Data
    let head: Data
    let losses: [Double]
    let seconds: Double
  }

  private func arguments(_ output: String = "out", _ more: [String] = []) -> [String] {
    ["run", "recipe.yaml", "--set", "output=\(output)"] + Self.settings + more
  }

  private func start(_ world: TinyWorld, ranks: Int = 1, _ more: [String] = []) throws -> Running {
    ranks == 1
      ? try Command.start("eagle-train", arguments("out", more), in: world.path)
      : try Command.startRanks(ranks, arguments("out", more), in: world.path)
  }

  private func reference(_ world: TinyWorld, _ more: [String] = []) throws -> Reference {
    let begin = Date()
    let whole = try Command.run("eagle-train", arguments("whole", more), in: world.path)
    try #require(whole.status == 0, "\(whole.errors)")
    let seconds = Date().timeIntervalSince(begin)
    return try results(world, "whole", seconds: seconds)
  }

  private func results(_ world: TinyWorld, _ output: String, seconds: Double = 0) throws -> Reference {
    struct Line: Decodable { let loss: Double }
    let lines = try world.read("\(output)/metrics.jsonl").split(separator: UInt8(ascii: "\n"))
    return Reference(
      weights: try weights(world, output),
      head: try world.read("\(output)/export/model.safetensors"),
      losses: try lines.map { try JSONDecoder().decode(Line.self, from: Data($0)).loss }, seconds: seconds)
  }

  /// The newest checkpoint's weights and optimiser state.
  private func weights(_ world: TinyWorld, _ output: String) throws -> Data {
    let name = try #require(try CheckpointFolder.names(in: world(output)).last)
    return try world.read("\(output)/\(name)/state.safetensors")
  }

  /// The run in `out` is finished and has the result of an undisturbed one: bit by bit on one rank, to rounding on
  /// several.
  private func expectEqual(_ world: TinyWorld, _ expected: Reference, ranks: Int, _ comment: Comment) throws {
    let found = try results(world, "out")
    // Compared outside the macro, which would look for the shortest list of changes between them.
    let isEqual = found.weights == expected.weights && found.head == expected.head
    #expect(isEqual || ranks > 1, comment)
    #expect(found.losses.count == expected.losses.count, comment)
    for (a, b) in zip(found.losses, expected.losses) { #expect(abs(a - b) < (ranks == 1 ? 1e-12 : 1e-4), comment) }
    let left = try FileManager.default.subpathsOfDirectory(atPath: world("out")).filter { $0.contains(".tmp-") }
    #expect(left.isEmpty, comment)
  }

  /// SIGKILL at random instants, again and again, until the run gets through; then a new run.
  @Test("a run killed at random instants ends with the weights of an undisturbed one", arguments: [1, 2])
  func randomKillsChangeNothing(ranks: Int) throws {
    let world = try TinyWorld()
    let expected = try reference(world)
    var random = RandomSource(seed: UInt64(ranks), purpose: "kills")
    var (done, runs) = (0, 0)
    while done < Self.kills || runs == 0 {
      let running = try start(world, ranks: ranks)
      // A run of ranks takes longer to start.
      let instant = Double(random.uniform()) * (expected.seconds + (ranks > 1 ? 1 : 0))
      let isKilled = !running.wait(seconds: instant) && done < Self.kills
      if isKilled { kill(running.victim(ranks: ranks, random: &random), SIGKILL) }
      // mpirun notices a dead rank and ends the others.
      #expect(running.wait(seconds: 120), "the run hangs after \(done) kills")
      let outcome = try running.finish()
      if isKilled && outcome.status != 0 {
        done += 1
        continue
      }
      try #require(outcome.status == 0, "after \(done) kills: \(outcome.errors)")
      try expectEqual(world, expected, ranks: ranks, "run \(runs) after \(done) kills in all")
      try FileManager.default.removeItem(atPath: world("out"))
      runs += 1
    }
    print("\(ranks) ranks: \(done) kills survived, \(runs) runs ended with the weights of an undisturbed one")
  }

  @Test("a killed export leaves a complete head or none") func aKilledExportLeavesNothingOrAll() throws {
    let world = try TinyWorld()
    _ = try reference(world)
    let name = try #require(try CheckpointFolder.names(in: world("whole")).last)
    var random = RandomSource(seed: 3, purpose: "export kills")
    let command = ["export", "whole/\(name)", "--output", "head"]
    let begin = Date()
    try #require(try Command.run("eagle-train", command, in: world.path).status == 0)
    let seconds = Date().timeIntervalSince(begin)
    let undisturbed = try world.read("head/model.safetensors")
    try FileManager.default.removeItem(atPath: world("head"))
    for _ in 0..<max(4, Self.kills / 4) {
      let running = try Command.start("eagle-train", command, in: world.path)
      if !running.wait(seconds: Double(random.uniform()) * seconds) { kill(running.process.processIdentifier, SIGKILL) }
      _ = try running.finish()
      if FileManager.default.fileExists(atPath: world("head")) {
        #expect(try world.read("head/model.safetensors") == undisturbed)
        #expect(FileManager.default.fileExists(atPath: world("head/config.json")))
        try FileManager.default.removeItem(atPath: world("head"))
      }
    }
    #expect(try Command.run("eagle-train", command, in: world.path).status == 0)
  }

  /// The first signal ends the run after the current task, with status 130 and a checkpoint. A signal after the last
  /// task changes nothing.
  @Test(
    "a signal ends a run with status 130, and resuming gives the same weights",
    arguments: [SIGINT, SIGTERM, SIGUSR1])
  func aSignalStopsTheRunInOrder(signal: Int32) throws {
    let world = try TinyWorld()
    let expected = try reference(world)
    var stops = 0
    let places = ["prepared/manifest.json", "capture/manifest.json", "step-00000032"]
    for place in places {
      let running = try start(world)
      func isThere() throws -> Bool {
        try FileManager.default.fileExists(atPath: world("out/\(place)"))
          || (place.hasPrefix("step-") && (CheckpointFolder.names(in: world("out")).last ?? "") >= place)
      }
      while try !isThere(), running.process.isRunning { usleep(1000) }
      kill(running.process.processIdentifier, signal)
      let outcome = try running.finish()
      let isStopped = outcome.status == 130 && outcome.errors.contains("stopped during")
      let isDone = outcome.status == 0 && outcome.errors.contains("the best head is in")
      #expect(isStopped || isDone, "\(outcome.errors)")
      stops += isStopped ? 1 : 0
      let names = try CheckpointFolder.names(in: world("out"))
      for name in names { _ = try CheckpointFolder.open(world("out/\(name)")) }
    }
    #expect(stops > 0)
    #expect(try start(world).finish().status == 0)
    try expectEqual(world, expected, ranks: 1, "after signal \(signal)")
  }

  @Test("a run that gets two signals exits with status 130 and can be resumed") func aSecondSignalEndsAtOnce() throws {
    let world = try TinyWorld()
    let running = try start(world)
    while !FileManager.default.fileExists(atPath: world("out/prepared")), running.process.isRunning { usleep(1000) }
    kill(running.process.processIdentifier, SIGTERM)
    usleep(1000)
    kill(running.process.processIdentifier, SIGTERM)
    let outcome = try running.finish()
    #expect(outcome.status == 130 && running.process.terminationReason == .exit)
    #expect(try start(world).finish().status == 0)
  }

  /// mpirun forwards SIGUSR1. (It starts here with blocked signals, because the threads of a test have blocked them.)
  @Test("all ranks stop on SIGUSR1, and the run resumes to the same weights") func ranksStopTogether() throws {
    let world = try TinyWorld()
    let expected = try reference(world)
    let running = try start(world, ranks: 2)
    while try CheckpointFolder.names(in: world("out")).isEmpty, running.process.isRunning { usleep(2000) }
    for rank in running.ranks { kill(rank, SIGUSR1) }
    let outcome = try running.finish()
    #expect(outcome.status == 130 && outcome.errors.contains("stopped during"), "\(outcome.errors)")
    #expect(try start(world, ranks: 2).finish().status == 0)
    try expectEqual(world, expected, ranks: 2, "after SIGUSR1")
  }

  /// If a rank is stopped, as by a debugger or a swapped-out host, the error names it and all ranks end.
  @Test("a rank that is silent too long is named, and the run ends", arguments: [0, 1])
  func aSilentRankEndsTheRun(rank: Int) throws {
    let world = try TinyWorld()
    let expected = try reference(world)
    let running = try start(world, ranks: 2, ["--set", "cluster.rank_timeout=3"])
    while try CheckpointFolder.names(in: world("out")).isEmpty, running.process.isRunning { usleep(2000) }
    let victim = try #require(running.ranks.first { Running.variable("OMPI_COMM_WORLD_RANK", of: $0) == "\(rank)" })
    kill(victim, SIGSTOP)
    #expect(running.wait(seconds: 60), "the run waits for a stopped rank")
    kill(victim, SIGKILL)
    let outcome = try running.finish()
    #expect(outcome.status != 0 && outcome.errors.contains("rank \(rank) on "), "\(outcome.errors)")
    #expect(outcome.errors.contains("has not been heard from for 3 s"), "\(outcome.errors)")
    #expect(try start(world, ranks: 2).finish().status == 0)
    try expectEqual(world, expected, ranks: 2, "after rank \(rank) was stopped")
  }

  @Test("ranks that all compute for longer than cluster.stall_timeout are left alone")
  func busyRanksAreLeftAlone() throws {
    let world = try TinyWorld(endless: true)
    // Equal prompts keep both ranks busy for the same time.
    try world.put("prompts.jsonl", #"{"id": "a", "prompt": "four"}"# + "\n" + #"{"id": "b", "prompt": "four"}"# + "\n")
    let run = ["run", "recipe.yaml", "--set", "train.epochs=1", "--set", "evaluate.benchmarks={}"]
    try #require(try Command.runRanks(2, run, in: world.path).status == 0)
    // The timeout applies while both decode, and not while one writes files.
    let settings = ["--set", "evaluate.max_new_tokens=3000", "--set", "cluster.stall_timeout=2"]
    let outcome = try Command.runRanks(2, ["evaluate", "recipe.yaml"] + settings, in: world.path)
    #expect(outcome.status == 0, "\(outcome.errors)")
  }

  @Test("a second program on the same output is refused and names the first")
  func aSecondProgramOnTheSameOutputIsRefused() throws {
    let world = try TinyWorld()
    let first = try start(world)
    func isLocked() -> Bool { FileManager.default.contents(atPath: world("out/.lock"))?.isEmpty == false }
    while !isLocked(), first.process.isRunning { usleep(1000) }
    let second = try start(world).finish()
    #expect(second.status == 1 && second.errors.contains("out: process \(first.process.processIdentifier) on "))
    #expect(second.errors.contains("choose another output"), "\(second.errors)")
    #expect(try first.finish().status == 0)
  }

  @Test(
    "an old checkpoint that the system does not let go of does not end the run",
    .enabled(if: Mount.isPossible, "a mount needs root"))
  func aCheckpointThatStaysEndsNothing() throws {
    let world = try TinyWorld()
    let expected = try reference(world)
    let stopped = try start(world)
    while try CheckpointFolder.names(in: world("out")).count < 2, stopped.process.isRunning { usleep(1000) }
    kill(stopped.process.processIdentifier, SIGTERM)
    try #require(try stopped.finish().status == 130, "the run ended before it was stopped")
    // A mount point can be neither renamed nor removed.
    let oldest = try #require(try CheckpointFolder.names(in: world("out")).first)
    let info = try Data(contentsOf: URL(fileURLWithPath: world("out/\(oldest)/info.json")))
    let mount = try Mount(at: world("out/\(oldest)"), kilobytes: 64)
    // With this file, the folder is a checkpoint of this program, which may be removed.
    try info.write(to: URL(fileURLWithPath: world("out/\(oldest)/info.json")))
    let outcome = try start(world).finish()
    #expect(outcome.status == 0, "\(outcome.errors)")
    #expect(FileManager.default.fileExists(atPath: world("out/\(oldest)")))
    try expectEqual(world, expected, ranks: 1, "beside a checkpoint that stays")
    withExtendedLifetime(mount) {}
  }

  @Test(
    "a folder whose old content the system does not let go of is replaced all the same",
    .enabled(if: Mount.isPossible, "a mount needs root"))
  func aFolderIsReplacedBesideWhatStays() throws {
    let world = try TinyWorld()
    _ = try reference(world)
    let names = try CheckpointFolder.names(in: world("whole"))
    func export(_ name: String, to output: String = "head") throws -> Outcome {
      try Command.run("eagle-train", ["export", "whole/\(name)", "--output", output], in: world.path)
    }
    try #require(try export(try #require(names.first)).status == 0)
    let last = try #require(names.last)
    try #require(try export(last, to: "other").status == 0)
    // A file of a killed write, the only kind of additional file that an export may contain.
    let leftover = ".config.json.tmp-1"
    try FileManager.default.createDirectory(atPath: world("head/\(leftover)"), withIntermediateDirectories: false)
    let mount = try Mount(at: world("head/\(leftover)"), kilobytes: 64)
    let outcome = try export(last)
    #expect(outcome.status == 0, "\(outcome.errors)")
    #expect(try world.read("head/model.safetensors") == world.read("other/model.safetensors"))
    #expect(!FileManager.default.fileExists(atPath: world("head/\(leftover)")))
    // The mount was moved together with its folder.
    let entries = try FileManager.default.contentsOfDirectory(atPath: world.path)
    mount.path = world("\(try #require(entries.first { $0.hasPrefix(".head.old.tmp-") }))/\(leftover)")
  }

  /// A disk that another program fills at different moments. Written files stay intact, and the run resumes once there
  /// is space.
  @Test(
    "a full disk damages no checkpoint, and the run resumes once there is space",
    .enabled(if: Mount.isPossible, "a small file system needs root"))
  func aFullDiskLosesNothing() throws {
    let world = try TinyWorld()
    let expected = try reference(world)
    try FileManager.default.createDirectory(atPath: world("out"), withIntermediateDirectories: true)
    let disk = try Mount(at: world("out"), kilobytes: 64)
    for kilobytes in [64, 300, 700, 1200] {
      try disk.resize(kilobytes: kilobytes)
      let running = try start(world)
      let outcome = try running.finish()
      #expect(running.process.terminationReason == .exit && outcome.status == 1, "\(kilobytes) KB: \(outcome.errors)")
      // A small disk is too small for the prepared data. A larger one is rejected for the files that the run has yet to
      // write.
      let isFull = ["No space left on device", "has yet to write"].contains(where: outcome.errors.contains)
      #expect(isFull, "\(kilobytes) KB: \(outcome.errors)")
      #expect(!FileManager.default.fileExists(atPath: world("out/capture")), "\(kilobytes) KB")
    }
    var refused = 0
    for file in [
      "prepared/manifest.json", "capture/shard-00001.h5", "capture/manifest.json", "latest", "metrics.jsonl",
    ] {
      try disk.resize(kilobytes: 100_000)
      for name in ["prepared", "capture", "ballast"] {
        try? FileManager.default.removeItem(atPath: world("out/\(name)"))
      }
      let running = try start(world)
      while !FileManager.default.fileExists(atPath: world("out/\(file)")), running.process.isRunning { usleep(500) }
      try disk.fill(file: world("out/ballast"))
      let outcome = try running.finish()
      #expect(running.process.terminationReason == .exit, "\(file): \(outcome.errors)")
      if outcome.status == 0 { continue }
      refused += 1
      // If the disk is full before capture checks its space, the error is that of this check.
      let isSaid = ["No space left on device", "has yet to write"].contains(where: outcome.errors.contains)
      #expect(isSaid, "\(file): \(outcome.errors)")
      for name in try CheckpointFolder.names(in: world("out")) {
        #expect(throws: Never.self, "\(file)") { try CheckpointFolder.open(world("out/\(name)")) }
      }
    }
    #expect(refused >= 2)
    try FileManager.default.removeItem(atPath: world("out/ballast"))
    let last = try start(world).finish()
    #expect(last.status == 0, "\(last.errors)")
    try expectEqual(world, expected, ranks: 1, "with space again")
  }
}

/// A file system in memory, of a given size.
private final class Mount {
  static var isPossible: Bool {
    guard getuid() == 0 else { return false }
    let folder = NSTemporaryDirectory() + "/eagle-mount-" + UUID().uuidString
    try? FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    return (try? Mount(at: folder, kilobytes: 64)) != nil
  }

  /// Its path, which must be updated when a folder above it is renamed.
  var path: String

  init(at path: String, kilobytes: Int) throws {
    self.path = path
    try Self.run("mount", ["-t", "tmpfs", "-o", "size=\(kilobytes)k", "tmpfs", path])
  }

  deinit { try? Self.run("umount", ["-l", path]) }

  func resize(kilobytes: Int) throws { try Self.run("mount", ["-o", "remount,size=\(kilobytes)k", path]) }

  /// Writes a file that fills the disk.
  func fill(file: String) throws {
    let descriptor = open(file, O_CREAT | O_WRONLY | O_TRUNC, 0o600)
    try #require(descriptor >= 0)
    defer { close(descriptor) }
    let zeros = [UInt8](repeating: 0, count: 1 << 16)
    while write(descriptor, zeros, zeros.count) > 0 {}
    while write(descriptor, zeros, 1) > 0 {}
    try #require(errno == ENOSPC)
  }

  private static func run(_ program: String, _ arguments: [String]) throws {
    let outcome = try Command.run("/usr/bin/env", [program] + arguments)
    try #require(outcome.status == 0, "\(outcome.errors)")
  }
}

// MARK: - Damaged files

/// A file cut to nothing, cut in half, or with one bit changed: the run ends with the same weights, or rejects the file
/// by name.
extension FaultTests {
  private static let inputs = ["recipe.yaml", "data.jsonl", "prompts.jsonl"]
  private static let target = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"].map {
    "target/\($0)"
  }

  private static func outputs(checkpoint: String) -> [String] {
    [
      "prepared/manifest.json", "prepared/tokens-00000.h5", "prepared/conversations-00000.jsonl",
      "capture/manifest.json", "capture/shard-00000.h5", "\(checkpoint)/state.safetensors", "\(checkpoint)/info.json",
      "\(checkpoint)/manifest.json", "latest", "best", "metrics.jsonl", "evaluation.json",
      "export/model.safetensors", "export/config.json", ".lock",
    ].map { "out/\($0)" }
  }

  @Test("a run with a damaged input, target or output ends with the same weights, or refuses the file by its name")
  func damagedFiles() throws {
    var run = try StoppedRun(self, isLarge: false)
    let files = Self.inputs + Self.target + Self.outputs(checkpoint: run.checkpoint)
    for file in files { try expectNoBelief(in: file, of: &run, "") }
  }

  /// A changed bit in a large target's weights is detected only if the fingerprint samples it.
  @Test("a run with a damaged large target ends with the same weights, or refuses the file by its name")
  func damagedFilesOfALargeTarget() throws {
    var run = try StoppedRun(self, isLarge: true)
    for file in Self.target { try expectNoBelief(in: file, of: &run, "large: ") }
  }

  /// A run that was stopped halfway, with its output in `half`.
  private struct StoppedRun {
    let world: TinyWorld
    /// The result of an undisturbed run.
    let expected: Reference
    let fingerprint: String
    /// The newest checkpoint.
    let checkpoint: String
    var random = RandomSource(seed: 5, purpose: "damage")
    /// Short, because there are many of these runs.
    static let short = ["--set", "train.epochs=5"]

    init(_ tests: FaultTests, isLarge: Bool) throws {
      world = try TinyWorld(isLarge: isLarge)
      fingerprint = try SafetensorsFolder.fingerprint(folder: world("target"))
      expected = try tests.reference(world, Self.short)
      let stopped = try Command.start("eagle-train", tests.arguments("half", Self.short), in: world.path)
      while try CheckpointFolder.names(in: world("half")).last ?? "" < "step-00000016", stopped.process.isRunning {
        usleep(1000)
      }
      kill(stopped.process.processIdentifier, SIGTERM)
      try #require(try stopped.finish().status == 130, "the run ended before it was stopped")
      checkpoint = try #require(try CheckpointFolder.names(in: world("half")).last)
    }

    /// Whether the fingerprint of the damaged target differs.
    var isTargetSeen: Bool { (try? SafetensorsFolder.fingerprint(folder: world("target"))) != fingerprint }
  }

  private func expectNoBelief(in file: String, of run: inout StoppedRun, _ label: String) throws {
    for damage in Damage.allCases {
      try? FileManager.default.removeItem(atPath: run.world("out"))
      try FileManager.default.copyItem(atPath: run.world("half"), toPath: run.world("out"))
      let original = try run.world.read(file)
      guard let damaged = damage.apply(to: original, random: &run.random) else { continue }
      try damaged.write(to: URL(fileURLWithPath: run.world(file)))
      let isSeen = !file.hasSuffix("target/model.safetensors") || damage != .flipped || run.isTargetSeen
      let outcome = try resume(run.world, "\(file), \(damage)")
      if !file.hasPrefix("out/") { try original.write(to: URL(fileURLWithPath: run.world(file))) }
      if outcome.status == 0 {
        // Only the weights, because a bit in a line of metrics.jsonl changes the log. Compared outside the macro, which
        // would look for the shortest list of changes between them.
        let isEqual = try weights(run.world, "out") == run.expected.weights
        #expect(isEqual || !isSeen, "\(file), \(damage): another result")
      } else {
        expectNamed(file, in: outcome)
      }
      let ending = outcome.status != 0 ? "refused" : isSeen ? "same weights" : "not noticed"
      print("\(label)\(file), \(damage.rawValue): \(ending)")
    }
  }

  /// Resumes the run until it ends.
  private func resume(_ world: TinyWorld, _ what: String) throws -> Outcome {
    let running = try start(world, StoppedRun.short)
    #expect(running.wait(seconds: 120), "\(what) hangs")
    kill(running.process.processIdentifier, SIGKILL)
    let outcome = try running.finish()
    #expect(running.process.terminationReason == .exit, "\(what): \(outcome.errors)")
    return outcome
  }

  private func expectNamed(_ file: String, in outcome: Outcome) {
    let name = URL(fileURLWithPath: file).lastPathComponent
    // Weights of another target are detected by the states that were captured from the first one.
    let isNamed = [name, "another target model", "other data", "other settings", "target_fingerprint"].contains {
      outcome.errors.contains($0)
    }
    #expect(outcome.status == 1 && outcome.errors.contains("Error: ") && isNamed, "\(file): \(outcome.errors)")
  }

  private enum Damage: String, CaseIterable {
    case emptied, halved
    case flipped = "a bit flipped"

    /// The damaged data; nil if nothing would change.
    func apply(to data: Data, random: inout RandomSource) -> Data? {
      guard !data.isEmpty else { return nil }
      switch self {
      case .emptied: return Data()
      case .halved: return data.count > 1 ? Data(data.prefix(data.count / 2)) : nil
      case .flipped:
        var changed = data
        changed[Int(random.next() % UInt64(data.count))] ^= UInt8(1 << (random.next() % 8))
        return changed
      }
    }
  }
}
