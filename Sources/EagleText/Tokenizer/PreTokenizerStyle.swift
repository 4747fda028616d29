/// How a model family cuts text into words, as JSON for tokenizer.json.
struct PreTokenizerStyle {
  private(set) var normalizer = "null"
  let preTokenizer: String
  private(set) var ignoresMerges = false

  /// The names that GGUF has for styles, and the styles.
  private static let styles: [String: PreTokenizerStyle] = [
    "gpt-2": PreTokenizerStyle([byteLevel(useRegex: true)]),
    "mpt": PreTokenizerStyle([byteLevel(useRegex: true)], composes: true),
    "smollm": digits,
    "starcoder": digits,
    "refact": digits,
    "command-r": PreTokenizerStyle([singleDigits, byteLevel(useRegex: true)], composes: true),
    "qwen2": PreTokenizerStyle(words(numbers: #"\p{N}"#), composes: true),
    "deepseek-r1-qwen": PreTokenizerStyle(words(numbers: #"\p{N}"#), composes: true),
    "qwen35": PreTokenizerStyle(words(letters: #"\p{L}\p{M}"#, numbers: #"\p{N}"#), composes: true),
    "llama-bpe": PreTokenizerStyle(words(numbers: #"\p{N}{1,3}"#), ignoresMerges: true),
    "llama3": PreTokenizerStyle(words(numbers: #"\p{N}{1,3}"#), ignoresMerges: true),
    "llama-v3": PreTokenizerStyle(words(numbers: #"\p{N}{1,3}"#), ignoresMerges: true),
    "falcon3": PreTokenizerStyle(words(numbers: #"\p{N}{1,3}"#), ignoresMerges: true),
    "glm4": PreTokenizerStyle(words(numbers: #"\p{N}{1,3}"#), ignoresMerges: true),
    "chatglm-bpe": PreTokenizerStyle(words(numbers: #"\p{N}{1,3}"#)),
    "smaug-bpe": PreTokenizerStyle(words(numbers: #"\p{N}{1,3}"#)),
    "dbrx": PreTokenizerStyle(words(numbers: #"\p{N}{1,3}"#)),
    "gpt-4o": PreTokenizerStyle(casedWords(ending: contractions + "?", numbers: #"\p{N}{1,3}"#)),
    "tekken": PreTokenizerStyle(casedWords(ending: "", numbers: #"\p{N}"#), ignoresMerges: true),
    "falcon": PreTokenizerStyle([
      #"{"type": "Punctuation", "behavior": "Contiguous"}"#, byteLevel(useRegex: true),
      #"{"type": "Digits", "individual_digits": false}"#, split("[0-9][0-9][0-9]"),
    ]),
    "deepseek-llm": PreTokenizerStyle(
      [
        split(#"[\r\n]"#), split(#"\s?[\#(deepSeekLetters)]+"#),
        split(#"\s?[!-/:-~"# + "\u{FF01}-\u{FF0F}\u{FF1A}-\u{FF5E}\u{2018}-\u{201F}\u{3000}-\u{3002}]+"),
      ]
        + [
          split(#"\s+$"#), split("[\u{4E00}-\u{9FA5}\u{800}-\u{4E00}\u{AC00}-\u{D7FF}]+"), singleDigits,
          byteLevel(useRegex: false),
        ]),
    "deepseek-coder": PreTokenizerStyle(
      [
        split(#"[\r\n]"#), split(#"\s?\p{L}+"#), split(#"\s?\p{P}+"#),
        split("[\u{4E00}-\u{9FA5}\u{800}-\u{4E00}\u{AC00}-\u{D7FF}]+"),
      ]
        + [singleDigits, byteLevel(useRegex: false)]),
    "deepseek-v3": PreTokenizerStyle(
      [split(#"\p{N}{1,3}"#), split("[\u{4E00}-\u{9FA5}\u{3040}-\u{309F}\u{30A0}-\u{30FF}]+")]
        + [
          split(
            ##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"##
              + #"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#), byteLevel(useRegex: false),
        ]),
  ]

  /// The names of all styles; of those with the same style the one that most models have is first.
  static var ggufNames: [String] {
    let common = ["gpt-2", "smollm", "qwen2", "llama-bpe", "smaug-bpe"]
    return common + styles.keys.sorted().filter { !common.contains($0) }
  }

  private init(_ components: [String], composes: Bool = false, ignoresMerges: Bool = false) {
    if composes { normalizer = #"{"type": "NFC"}"# }
    preTokenizer =
      components.count == 1
      ? components[0] : #"{"type": "Sequence", "pretokenizers": [\#(components.joined(separator: ", "))]}"#
    self.ignoresMerges = ignoresMerges
  }

  /// The style that GGUF calls by `name`.
  init(ggufName name: String) throws {
    guard let style = PreTokenizerStyle.styles[name] else {
      let known = PreTokenizerStyle.styles.keys.sorted().joined(separator: ", ")
      throw TextError("the GGUF pre-tokenizer \"\(name)\" is not supported: \(known) are")
    }
    self = style
  }
}

extension PreTokenizerStyle {
  private static let contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
  private static let spaces = #"|\s*[\r\n]+|\s+(?!\S)|\s+"#
  private static let singleDigits = #"{"type": "Digits", "individual_digits": true}"#
  private static var digits: PreTokenizerStyle { PreTokenizerStyle([singleDigits, byteLevel(useRegex: true)]) }

  /// Letters with the character before them, numbers, other characters.
  private static func words(letters: String = #"\p{L}"#, numbers: String) -> [String] {
    let others = #"| ?[^\s\#(letters)\p{N}]+[\r\n]*"#
    let isPlain = letters == #"\p{L}"#
    let pattern =
      contractions + #"|[^\r\n\p{L}\p{N}]?"# + (isPlain ? letters : "[\(letters)]") + "+|" + numbers + others + spaces
    return [split(pattern), byteLevel(useRegex: false)]
  }

  /// Words end where a small letter is followed by a capital one.
  private static func casedWords(ending: String, numbers: String) -> [String] {
    let (upper, lower) = (#"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"#, #"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"#)
    let before = #"[^\r\n\p{L}\p{N}]?"#
    let pattern =
      "\(before)\(upper)*\(lower)+\(ending)|\(before)\(upper)+\(lower)*\(ending)|" + numbers
      + #"| ?[^\s\p{L}\p{N}]+[\r\n/]*"# + spaces
    return [split(pattern), byteLevel(useRegex: false)]
  }

  private static func split(_ pattern: String) -> String {
    #"{"type": "Split", "pattern": {"Regex": \#(TokenizerFile.quoted(pattern))}, "behavior": "Isolated", "invert": false}"#
  }

  private static func byteLevel(useRegex: Bool) -> String {
    #"{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": \#(useRegex)}"#
  }

  /// Letters with case, as DeepSeek LLM lists them.
  private static let deepSeekLetters =
    "A-Za-z\u{B5}\u{C0}-\u{D6}\u{D8}-\u{F6}\u{F8}-\u{1BA}\u{1BC}-\u{1BF}\u{1C4}-\u{293}\u{295}-\u{2AF}"
    + "\u{370}-\u{373}\u{376}\u{377}\u{37B}-\u{37D}\u{37F}\u{386}\u{388}-\u{38A}\u{38C}\u{38E}-\u{3A1}"
    + "\u{3A3}-\u{3F5}\u{3F7}-\u{481}\u{48A}-\u{52F}\u{531}-\u{556}\u{10A0}-\u{10C5}\u{13A0}-\u{13F5}"
    + "\u{13F8}-\u{13FD}\u{1C90}-\u{1CBA}\u{1CBD}-\u{1CBF}\u{1D00}-\u{1D2B}\u{1D6B}-\u{1D77}\u{1D79}-\u{1D9A}"
    + "\u{1E00}-\u{1F15}\u{1F18}-\u{1F1D}\u{1F20}-\u{1F45}\u{1F48}-\u{1F4D}\u{1F50}-\u{1F57}\u{1F59}\u{1F5B}"
    + "\u{1F5D}\u{1F5F}-\u{1F7D}\u{1F80}-\u{1FB4}\u{1FB6}-\u{1FBC}\u{1FBE}\u{1FC2}-\u{1FC4}\u{1FC6}-\u{1FCC}"
    + "\u{1FD0}-\u{1FD3}\u{1FD6}-\u{1FDB}\u{1FE0}-\u{1FEC}\u{1FF2}-\u{1FF4}\u{1FF6}-\u{1FFC}\u{2102}\u{2107}"
    + "\u{210A}-\u{2113}\u{2115}\u{2119}-\u{211D}\u{2124}\u{2126}\u{2128}\u{212A}-\u{212D}\u{212F}-\u{2134}\u{2139}"
    + "\u{213C}-\u{213F}\u{2145}-\u{2149}\u{214E}\u{2183}\u{2184}\u{2C00}-\u{2C7B}\u{2C7E}-\u{2CE4}"
    + "\u{2CEB}-\u{2CEE}\u{2CF2}\u{2CF3}\u{A640}-\u{A66D}\u{A680}-\u{A69B}\u{A722}-\u{A76F}\u{A771}-\u{A787}"
    + "\u{A78B}-\u{A78E}\u{AB70}-\u{ABBF}\u{FB00}-\u{FB06}\u{FB13}-\u{FB17}\u{FF21}-\u{FF3A}\u{FF41}-\u{FF5A}"
    + "\u{10400}-\u{1044F}\u{104B0}-\u{104D3}\u{104D8}-\u{104FB}\u{10C80}-\u{10CB2}\u{10CC0}-\u{10CF2}"
    + "\u{118A0}-\u{118DF}\u{1E900}-\u{1E943}"
}
