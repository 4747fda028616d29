import EagleRunFiles

/// Results of benchmarks from counts by prompt.
enum MeasuredPrompts {
  /// - Parameter prompts: tokens and passes of each
  static func result(_ prompts: [(tokens: Int, passes: Int)], digest: String? = "prompts") -> BenchmarkResult {
    var counts = BenchmarkCounts()
    for prompt in prompts {
      var (speculative, plain) = (DecodingStatistics(), DecodingStatistics())
      (speculative.decodedTokens, speculative.targetPasses) = (prompt.tokens, prompt.passes)
      (plain.decodedTokens, plain.targetPasses) = (prompt.tokens, prompt.tokens)
      // A pass takes a second, of either kind.
      (speculative.decodeSeconds, plain.decodeSeconds) = (Double(prompt.passes), Double(prompt.tokens))
      counts.speculative += speculative
      counts.plain += plain
      counts.prompts += 1
      counts.byPrompt.append(speculative, plain: plain)
    }
    var result = BenchmarkResult(counts, draftLength: 3, plan: "a chain of 3")
    result.promptsDigest = digest
    return result
  }
}
