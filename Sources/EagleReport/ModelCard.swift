import EagleCore
import EagleRunFiles
import Foundation

/// The model card of an exported head, in Markdown with the metadata that hubs read: its target, its training data, and
/// its measurements.
package struct ModelCard {
  private let record: RunRecord
  private let step: Int
  private let license: String?
  private let target: String
  private let base: String?

  /// - Parameters:
  ///   - folder: the output folder of the run
  ///   - step: the step of the exported checkpoint
  ///   - license: the licence of the head, as hubs name it; nil to leave it to the publisher of the head
  ///   - target: the display name of the target
  ///   - base: the target's repository on a hub; nil if it has none
  /// - Throws: when the folder contains no run
  package init(folder: String, step: Int, license: String?, target: String, base: String?) throws {
    record = try RunRecord(folder: folder, recipe: nil)
    (self.step, self.license, self.target, self.base) = (step, license, target, base)
  }

  /// The target as the run's recipe names it.
  package static func target(ofRun folder: String) throws -> String? {
    try RunRecord(folder: folder, recipe: nil).targetPath
  }

  package var text: String {
    (metadata + ["", "# \(title)", ""] + introduction + [""] + results + data + use).joined(separator: "\n") + "\n"
  }

  private var targetName: String { URL(fileURLWithPath: target).lastPathComponent }
  private var title: String { "\(kind) for \(targetName)" }

  private var kind: String {
    switch record.architecture {
    case "dflash": "DFlash block drafter"
    case "dspark": "DSpark block drafter"
    default: "EAGLE-3 draft head"
    }
  }

  private var metadata: [String] {
    ["---"] + (license.map { ["license: \($0)"] } ?? []) + (base.map { ["base_model: \($0)"] } ?? [])
      + ["tags:", "- speculative-decoding", "- \(record.architecture)", "---"]
  }

  private var introduction: [String] {
    var lines = [
      "A draft head for speculative decoding: it proposes tokens that the target then checks in one pass. The text stays the",
      "target's own. Trained with EagleTrain, exported at step \(step).", "",
      "| | |", "|---|---|", "| target | \(target) |",
    ]
    if let fingerprint = record.targetFingerprint { lines.append("| fingerprint of the target | `\(fingerprint)` |") }
    if let shape = record.draftShape {
      lines += [
        "| hidden size | \(shape.hiddenSize) |", "| draft vocabulary | \(shape.draftVocabularySize) |",
        "| captured layers (from 0) | \(shape.captureLayers.map(String.init).joined(separator: ", ")) |",
      ]
    }
    if license == nil { lines.append("| licence | to be chosen; the licences of the target and the data hold, too |") }
    return lines
  }

  /// The measurements of this step, or a sentence that there are none.
  private var results: [String] {
    guard let evaluation = record.evaluations.last(where: { $0.step == step }) else {
      return ["## Acceptance", "", "This step was not evaluated.", ""]
    }
    guard !evaluation.benchmarks.isEmpty else {
      let length = evaluation.heldOut.map { String(format: "%.2f", $0.simulatedAcceptanceLength) } ?? "–"
      return [
        "## Acceptance", "", "Simulated acceptance length on held-out conversations: \(length). No benchmark was run.",
        "",
      ]
    }
    let rows = evaluation.benchmarks.sorted { $0.key < $1.key }.map { name, result in
      let length = String(format: "%.2f", result.accLength) + (result.accLengthInterval.map { " \($0.text)" } ?? "")
      let speed = String(format: "%.2f", result.speedup) + (result.speedupInterval.map { " \($0.text)" } ?? "")
      return "| \(name) | \(length) | \(speed) | \(result.prompts) | \(result.plan ?? "chain \(result.draftLength)") |"
    }
    let mean = String(format: "%.2f", evaluation.meanAccLength)
    return [
      "## Acceptance", "",
      "Tokens per pass of the target, with 95 % intervals over prompts where there are several, and tokens per second as a multiple of",
      "plain decoding on the machine of the run. Mean \(mean)\(evaluation.meanAccLengthInterval.map { " \($0.text)" } ?? "").",
      "",
      "| benchmark | acceptance length | speed | prompts | plan |", "|---|---|---|---|---|",
    ] + rows + [""]
  }

  private struct DataNames: Decodable {
    struct Section: Decodable { let train: [File] }
    struct File: Decodable {
      let path: String

      init(from decoder: any Decoder) throws {
        if let text = try? decoder.singleValueContainer().decode(String.self) {
          path = text
          return
        }
        path = try decoder.container(keyedBy: CodingKeys.self).decode(String.self, forKey: .path)
      }

      enum CodingKeys: String, CodingKey { case path }
    }
    let data: Section
  }

  private var data: [String] {
    let names = record.recipe.flatMap { try? JSONDecoder().decode(DataNames.self, from: Data($0.utf8)) }
    var lines = ["## Training data", ""]
    for file in names?.data.train ?? [] { lines.append("- `\(URL(fileURLWithPath: file.path).lastPathComponent)`") }
    if let statistics = record.data?.statistics { lines += ["", "\(statistics.summary)."] }
    return lines + [""]
  }

  private var servers: String {
    record.architecture == "eagle3"
      ? "SGLang and vLLM take the folder as the draft model of an EAGLE-3 run."
      : "llama.cpp takes it as a GGUF file, `eagle-train export … --output head.gguf`."
  }

  private var use: [String] {
    [
      "## Use", "", "```", "eagle-run chat --target \(target) --draft FOLDER", "```", "",
      servers, "", "It is for this target alone: another one, or another fine-tune of it, accepts less.",
    ]
  }
}
