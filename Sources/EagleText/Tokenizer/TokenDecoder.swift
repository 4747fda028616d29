/// How tokens become text again: by GPT-2's byte alphabet, or as SentencePiece writes spaces and bytes.
struct TokenDecoder: Sendable {
  /// What happens to the space with which a text begins.
  enum LeadingSpace: Sendable, Equatable {
    case kept
    /// Up to `count` characters, each of which is `character`, are left out.
    case stripped(character: [UInt8], count: Int)
    /// Spaces of the first token are left out.
    case leftOutOfFirstToken
  }

  let isByteLevel: Bool
  private(set) var leadingSpace = LeadingSpace.kept
  private var replacements = Normalizer(steps: [])
  private var hasByteFallback = false

  /// Reads the decoder of a tokenizer.json; what is not supported is refused by name.
  init(_ component: TokenizerFields?) throws {
    guard let component else {
      throw TextError("the decoder (none) is not supported: ByteLevel and SentencePiece's are")
    }
    let parts = try TokenDecoder.flattened(component)
    isByteLevel = parts.count == 1 && parts[0].type == "ByteLevel"
    guard !isByteLevel else { return }
    var steps: [Normalizer.Step] = []
    var isFused = false
    for (index, part) in parts.enumerated() {
      switch part.type {
      case "Replace" where !hasByteFallback && !isFused: steps.append(try Normalizer.replacement(part.fields))
      case "Metaspace" where index == 0:
        let metaspace = try Metaspace(part.fields)
        steps.append(.replace(metaspace.replacement, with: [0x20]))
        if metaspace.scheme != .never { leadingSpace = .leftOutOfFirstToken }
      case "ByteFallback" where !isFused: hasByteFallback = true
      case "Fuse": isFused = true
      case "Strip" where isFused && leadingSpace == .kept: leadingSpace = try TokenDecoder.strip(part.fields)
      default:
        throw TextError(
          "the decoder \(part.type) at place \(index + 1) is not supported: ByteLevel alone is, and Replace or "
            + "Metaspace, ByteFallback, Fuse and Strip in this order")
      }
    }
    guard steps.count <= 16 else { throw TextError("there are \(steps.count) replacing decoders: too many") }
    replacements = Normalizer(steps: steps)
  }

  private static func flattened(_ component: TokenizerFields) throws -> [(type: String, fields: TokenizerFields)] {
    let type = try component.required("type", try component.string("type"))
    guard type == "Sequence" else { return [(type, component)] }
    return try component.objects("decoders")?.flatMap(flattened) ?? []
  }

  private static func strip(_ fields: TokenizerFields) throws -> LeadingSpace {
    let content = try fields.required("content", try fields.string("content"))
    guard content.unicodeScalars.count == 1, try fields.int("stop") ?? 0 == 0, let count = try fields.int("start"),
      count >= 0
    else { throw TextError("a decoder Strip that takes more than one character from the beginning is not supported") }
    return count == 0 ? .kept : .stripped(character: Array(content.utf8), count: count)
  }

  /// The bytes that a token stands for inside a text.
  func bytes(of token: String) -> [UInt8] {
    if isByteLevel { return ByteAlphabet.decode(token) ?? Array(token.utf8) }
    let bytes = replacements.normalized(token)
    return hasByteFallback ? TokenDecoder.byte(bytes).map { [$0] } ?? bytes : bytes
  }

  /// The bytes that a token stands for as the first of a text, where they are not those inside a text without spaces.
  func firstBytes(of token: String) -> [UInt8]? {
    guard leadingSpace == .leftOutOfFirstToken, token.utf8.contains(0x20) else { return nil }
    return Array(String(String.UnicodeScalarView(token.unicodeScalars.filter { $0 != "\u{2581}" })).utf8)
  }

  /// The byte that `<0x0A>` stands for.
  private static func byte(_ token: [UInt8]) -> UInt8? {
    guard token.count == 6, token.starts(with: "<0x".utf8), token[5] == UInt8(ascii: ">") else { return nil }
    return UInt8(String(decoding: token[3..<5], as: UTF8.self), radix: 16)
  }
}

/// Leaves the space out with which a text begins, token by token.
struct LeadingSpaceFilter: Sendable {
  private var leadingSpace: TokenDecoder.LeadingSpace

  /// A filter for tokens that begin a text, or else for those that follow others, which keep their space.
  init(_ decoder: TokenDecoder, startsText: Bool) { leadingSpace = startsText ? decoder.leadingSpace : .kept }

  /// What is left of the next token, which has other bytes `asFirst` than those without spaces.
  mutating func rest(of token: ArraySlice<UInt8>, asFirst first: [UInt8]?) -> ArraySlice<UInt8> {
    switch leadingSpace {
    case .kept: return token
    case .leftOutOfFirstToken:
      leadingSpace = .kept
      return (first ?? token.filter { $0 != 0x20 })[...]
    case .stripped(let character, var count):
      var rest = token
      while count > 0, rest.starts(with: character) {
        rest = rest.dropFirst(character.count)
        count -= 1
      }
      leadingSpace = count == 0 || !rest.isEmpty ? .kept : .stripped(character: character, count: count)
      return rest
    }
  }
}
