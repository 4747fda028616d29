import EagleText
import Foundation

/// Prompts with a long context: the first turn of a prompt, preceded by the texts of the prompts that follow it in its
/// file.
///
/// The texts are in the order of the file, with wraparound at its end; the last one is cut. They are arbitrary context
/// that the answer does not need: it serves to measure the acceptance after that many tokens.
struct ContextPrompts {
  private let file: [Prompt]
  private let renderer: PromptRenderer

  init(_ file: [Prompt], _ renderer: PromptRenderer) { (self.file, self.renderer) = (file, renderer) }

  /// The prompt extended to nearly `length` tokens and at most that many. A prompt that is longer by itself stays
  /// unchanged.
  func lengthened(_ prompt: Prompt, to length: Int) throws -> Prompt {
    let alone = Prompt(id: prompt.id, system: prompt.system, turns: [prompt.turns[0]])
    var missing = length - (try renderer.ids(of: alone).count)
    guard missing > 0 else { return alone }
    let context = try context(before: prompt, tokens: missing)
    while missing > 0 {
      let text = text(of: context.prefix(missing))
      let long = Prompt(id: prompt.id, system: prompt.system, turns: ["\(text)\n\n\(prompt.turns[0])"])
      // At the boundary of two texts, the tokens differ from those of the separate texts.
      let excess = try renderer.ids(of: long).count - length
      if excess <= 0 { return long }
      missing -= excess
    }
    return alone
  }

  /// At least `tokens` token ids of the texts of the other prompts, if these are not empty.
  private func context(before prompt: Prompt, tokens: Int) throws -> [Int32] {
    let own = file.firstIndex(of: prompt) ?? 0
    var (ids, before) = ([Int32](), -1)
    // The second condition ends the loop if all texts are empty.
    while ids.count < tokens, ids.count > before {
      before = ids.count
      for offset in 1..<max(2, file.count) where ids.count < tokens {
        let text = file[(own + offset) % file.count].turns.joined(separator: "\n\n") + "\n\n"
        ids += try renderer.model.tokenizer.encodeOrdinary(text)
      }
    }
    return ids
  }

  /// The text of the ids, without a character that their end cuts.
  private func text(of ids: ArraySlice<Int32>) -> String {
    let text = renderer.model.tokenizer.decode(Array(ids), skipSpecial: true)
    return text.trimmingCharacters(in: CharacterSet(charactersIn: "\u{fffd}").union(.whitespacesAndNewlines))
  }
}
