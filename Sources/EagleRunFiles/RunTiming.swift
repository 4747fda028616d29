import Foundation

/// `timing.json`: which processes trained a run, with which libraries, and where their time went.
package struct RunTiming: Codable, Sendable, Equatable {
  /// Starts of the program that trained, oldest first.
  package var starts: [Start] = []
  /// The parts that they trained: an epoch, or the part of one that came before a stop.
  package var parts: [Part] = []

  package struct Start: Codable, Sendable, Equatable {
    /// Seconds since 1970.
    package var time: Double
    /// The optimiser step after which the start resumed; 0 for a run from its beginning.
    package var step: Int
    /// Name and version of each library of rank 0.
    package var versions: [String: String]
    package var ranks: [Rank]

    package init(time: Double, step: Int, versions: [String: String], ranks: [Rank]) {
      self.time = time
      self.step = step
      self.versions = versions
      self.ranks = ranks
    }
  }

  package struct Rank: Codable, Sendable, Equatable {
    package var host: String
    package var threads: Int
    /// The instruction set of its processor.
    package var processor: String

    package init(host: String, threads: Int, processor: String) {
      self.host = host
      self.threads = threads
      self.processor = processor
    }
  }

  package struct Part: Codable, Sendable, Equatable {
    /// Index in `starts`.
    package var start: Int
    /// The number of the epoch, counted from 1.
    package var epoch: Int
    package var firstStep: Int
    package var lastStep: Int
    /// Seconds of rank 0, with checkpoints and without evaluations.
    package var seconds: Double
    /// Seconds of each rank by phase. What is missing from `seconds` belongs to no phase.
    package var phases: [[String: Double]]

    package init(start: Int, epoch: Int, firstStep: Int, lastStep: Int, seconds: Double, phases: [[String: Double]]) {
      self.start = start
      self.epoch = epoch
      self.firstStep = firstStep
      self.lastStep = lastStep
      self.seconds = seconds
      self.phases = phases
    }

    enum CodingKeys: String, CodingKey {
      case start, epoch, seconds, phases
      case firstStep = "first_step"
      case lastStep = "last_step"
    }
  }

  /// The record without the parts that a restart after `step` does again.
  package func kept(after step: Int) -> RunTiming {
    step == 0 ? RunTiming() : RunTiming(starts: starts, parts: parts.filter { $0.lastStep <= step })
  }

  package init(starts: [Start] = [], parts: [Part] = []) { (self.starts, self.parts) = (starts, parts) }
}

extension RunTiming {
  /// The record of a run; nil when there is none, or none that can be read.
  package static func read(_ path: String) -> RunTiming? {
    FileManager.default.contents(atPath: path).flatMap { try? JSONDecoder().decode(RunTiming.self, from: $0) }
  }
}
