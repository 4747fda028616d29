import EagleCore
import EagleRunFiles
import Foundation

/// The page of an exported head on a hub, in Markdown with the metadata that hubs read: what it was trained for and on, and
/// what was measured.
package struct ModelCard {
  private let record: RunRecord
  private let step: Int
  private let license: String?
  /// The words by which an earlier page is known.
  private let mark: String

  /// - Parameters:
  ///   - folder: the output folder of the run
  ///   - step: the step of the exported checkpoint
  ///   - license: the licence of the head, as hubs name it; nil to leave it to whoever publishes the head
  ///   - mark: the words, before the step, by which a later export knows the page for its own
  /// - Throws: when the folder holds nothing of a run
  package init(folder: String, step: Int, license: String?, mark: String) throws {
    record = try RunRecord(folder: folder, recipe: nil)
    (self.step, self.license, self.mark) = (step, license, mark)
  }

  package var text: String {
    (metadata + ["", "# \(title)", ""] + introduction + [""] + results + data + use).joined(separator: "\n") + "\n"
  }

  private var target: String { record.targetPath ?? "its target" }
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
    let isName = target.split(separator: "/").count == 2 && !target.hasPrefix("/") && !target.hasPrefix(".")
    return ["---"] + (license.map { ["license: \($0)"] } ?? []) + (isName ? ["base_model: \(target)"] : [])
      + ["tags:", "- speculative-decoding", "- \(record.architecture)", "---"]
  }

  private var introduction: [String] {
    var lines = [
      "A draft head for speculative decoding: it proposes tokens that the target then checks in one pass. The text stays the",
      "target's own. \(mark) \(step).", "",
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

  /// What was measured of this step, or of none.
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

  private var use: [String] {
    [
      "## Use", "", "```", "eagle-run chat --target \(target) --draft FOLDER", "```", "",
      "SGLang and vLLM take the folder as the draft model of an EAGLE-3 run. It is for this target alone: another one, or another",
      "fine-tune of it, accepts less.",
    ]
  }
}
