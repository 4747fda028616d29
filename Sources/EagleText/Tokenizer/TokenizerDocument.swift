/// The parts of a tokenizer.json that decide how text becomes ids, as they stand in the file.
struct TokenizerDocument: Decodable {
  let addedTokens: [AddedToken]?
  let normalizer: Component?
  let preTokenizer: Component?
  let decoder: Component?
  let model: Model

  enum CodingKeys: String, CodingKey {
    case addedTokens = "added_tokens"
    case normalizer
    case preTokenizer = "pre_tokenizer"
    case decoder, model
  }

  /// A token that is found in the text itself before anything else happens to it.
  struct AddedToken: Decodable, Sendable {
    let id: Int32
    let content: String
    let singleWord: Bool?
    let stripsLeft: Bool?
    let stripsRight: Bool?
    let normalized: Bool?
    let special: Bool?

    enum CodingKeys: String, CodingKey {
      case id, content
      case singleWord = "single_word"
      case stripsLeft = "lstrip"
      case stripsRight = "rstrip"
      case normalized, special
    }
  }

  /// A normalizer, pre-tokenizer or decoder: its type and whichever settings that type has.
  struct Component: Decodable {
    let type: String
    let preTokenizers: [Component]?
    let pattern: Pattern?
    let behavior: String?
    let invert: Bool?
    let individualDigits: Bool?
    let addPrefixSpace: Bool?
    let useRegex: Bool?

    enum CodingKeys: String, CodingKey {
      case type
      case preTokenizers = "pretokenizers"
      case pattern, behavior, invert
      case individualDigits = "individual_digits"
      case addPrefixSpace = "add_prefix_space"
      case useRegex = "use_regex"
    }
  }

  struct Pattern: Decodable {
    let regex: String?

    enum CodingKeys: String, CodingKey {
      case regex = "Regex"
    }
  }

  struct Model: Decodable {
    let type: String?
    let vocabulary: [String: Int32]
    let merges: MergeList
    let dropout: Double?
    let unknownToken: String?
    let continuingSubwordPrefix: String?
    let endOfWordSuffix: String?
    let byteFallback: Bool?
    let ignoreMerges: Bool?

    enum CodingKeys: String, CodingKey {
      case type
      case vocabulary = "vocab"
      case merges, dropout
      case unknownToken = "unk_token"
      case continuingSubwordPrefix = "continuing_subword_prefix"
      case endOfWordSuffix = "end_of_word_suffix"
      case byteFallback = "byte_fallback"
      case ignoreMerges = "ignore_merges"
    }

    /// Reads the type before anything else, so that another kind of model is named rather than a missing field.
    init(from decoder: any Decoder) throws {
      let fields = try decoder.container(keyedBy: CodingKeys.self)
      type = try fields.decodeIfPresent(String.self, forKey: .type)
      if let type, type != "BPE" { throw TextError("the model type \(type) is not supported, only BPE is") }
      vocabulary = try fields.decode([String: Int32].self, forKey: .vocabulary)
      merges = try fields.decode(MergeList.self, forKey: .merges)
      dropout = try fields.decodeIfPresent(Double.self, forKey: .dropout)
      unknownToken = try fields.decodeIfPresent(String.self, forKey: .unknownToken)
      continuingSubwordPrefix = try fields.decodeIfPresent(String.self, forKey: .continuingSubwordPrefix)
      endOfWordSuffix = try fields.decodeIfPresent(String.self, forKey: .endOfWordSuffix)
      byteFallback = try fields.decodeIfPresent(Bool.self, forKey: .byteFallback)
      ignoreMerges = try fields.decodeIfPresent(Bool.self, forKey: .ignoreMerges)
    }
  }

  /// Merges in order of rank; files write each as "a b" or as ["a", "b"].
  struct MergeList: Decodable {
    let pairs: [(left: String, right: String)]

    init(from decoder: any Decoder) throws {
      let container = try decoder.singleValueContainer()
      if let lists = try? container.decode([[String]].self) {
        pairs = try lists.map(MergeList.pair)
      } else {
        let lines = try container.decode([String].self).filter { !$0.hasPrefix("#version") }
        pairs = try lines.map { line in
          try MergeList.pair(line.split(separator: " ", omittingEmptySubsequences: false).map(String.init))
        }
      }
    }

    private static func pair(_ parts: [String]) throws -> (left: String, right: String) {
      guard parts.count == 2 else {
        throw TextError("the merge \"\(parts.joined(separator: " "))\" has \(parts.count) parts, expected 2")
      }
      return (parts[0], parts[1])
    }
  }
}
