import EagleDecoding
import EagleRunFiles
import EagleText

extension ExampleText {
  private static let mostTokens = 80
  private static let mostCharacters = 400

  /// The beginning of an answer, token by token.
  init(benchmark: String, prompt: String, _ generation: Generation, _ model: ChatModel) {
    var stream = StreamingDetokenizer(model.tokenizer)
    var (tokens, remaining) = ([Token](), generation.ids[...])
    for (number, pass) in generation.passes.enumerated() {
      for (index, id) in remaining.prefix(pass.tokens).enumerated() {
        tokens.append(Token(text: stream.append(id), pass: number, accepted: index < pass.accepted))
      }
      remaining = remaining.dropFirst(pass.tokens)
    }
    let isLong = prompt.count > Self.mostCharacters
    self.init(
      benchmark: benchmark, prompt: isLong ? String(prompt.prefix(Self.mostCharacters)) + " …" : prompt,
      tokens: Array(tokens.prefix(Self.mostTokens)), isCut: tokens.count > Self.mostTokens)
  }
}
