/// The methods of strings that a template may call.
enum StringMethod: String {
  case capitalize, center, count, endswith, expandtabs, find, format, index, isalnum, isalpha, isascii, isdecimal
  case isdigit, isidentifier, islower, isnumeric, isprintable, isspace, istitle, isupper, join, ljust, lower, lstrip
  case partition, removeprefix, removesuffix, replace, rfind, rindex, rjust, rpartition, rsplit, rstrip, split
  case splitlines, startswith, strip, swapcase, title, upper, zfill

  /// Python's methods that no template of ours may call.
  static let unsupported: Set<String> = ["casefold", "encode", "format_map", "maketrans", "translate"]
}

extension Renderer {
  func call(_ method: StringMethod, of text: Text, _ arguments: CallArguments) throws -> Value {
    guard !text.isMarkup else { throw Fault("methods of escaped or safe text are not supported") }
    try meter.charge(bytes: text.bytes.count)
    switch method {
    case .upper, .lower, .capitalize, .title, .swapcase:
      _ = try arguments.bound(to: [], of: method.rawValue)
      return .string(text.cased(method))
    case .strip, .lstrip, .rstrip: return .string(try strip(method, text, arguments))
    case .split, .rsplit: return try split(method, text, arguments)
    case .splitlines:
      let bound = try arguments.bound(to: ["keepends"], of: "splitlines")
      return try .list(checked(text.lines(keepingEnds: bound[0]?.isTrue ?? false)))
    case .startswith, .endswith: return .bool(try matches(method, text, arguments))
    case .find, .rfind, .index, .rindex, .count: return .int(try search(method, text, arguments))
    case .replace: return .string(try replace(text, arguments))
    case .join: return .string(try join(text, arguments))
    case .center, .ljust, .rjust, .zfill, .expandtabs: return .string(try pad(method, text, arguments))
    case .removeprefix, .removesuffix: return .string(try remove(method, text, arguments))
    case .partition, .rpartition: return try partition(method, text, arguments)
    case .format: return .string(try FormatString.format(text, arguments, self))
    case .isalnum, .isalpha, .isascii, .isdecimal, .isdigit, .isidentifier, .islower, .isnumeric, .isprintable,
      .isspace, .istitle, .isupper:
      _ = try arguments.bound(to: [], of: method.rawValue)
      return .bool(text.satisfies(method))
    }
  }

  func checked(_ pieces: [Text]) throws -> [Value] {
    try meter.charge(elements: pieces.count)
    return pieces.map { .string($0) }
  }

  private func positional(
    _ arguments: CallArguments, _ most: Int, required: Int = 0, _ method: StringMethod
  ) throws -> [Value?] {
    guard arguments.named.isEmpty else { throw Fault("'\(method.rawValue)' takes no named arguments") }
    let names = (0..<most).map { "\($0 + 1)" }
    return try arguments.bound(to: names, required: required, of: method.rawValue)
  }

  private func strip(_ method: StringMethod, _ text: Text, _ arguments: CallArguments) throws -> Text {
    let characters = try positional(arguments, 1, method)[0].unlessNone?.requireText("'\(method.rawValue)'")
    let set = characters.map { Set($0.string.unicodeScalars) }
    return text.stripped(set, left: method != .rstrip, right: method != .lstrip)
  }

  private func split(_ method: StringMethod, _ text: Text, _ arguments: CallArguments) throws -> Value {
    let bound = try arguments.bound(to: ["sep", "maxsplit"], of: method.rawValue)
    let limit = try bound[1]?.requireInteger("'maxsplit'") ?? -1
    guard let separator = try bound[0].unlessNone?.requireText("'\(method.rawValue)'") else {
      if limit >= 0 { try meter.charge(meter.product(min(limit, text.bytes.count), text.bytes.count) / 16) }
      let words =
        limit < 0 ? text.words() : method == .split ? text.words(limit: limit) : text.wordsFromEnd(limit: limit)
      return try .list(checked(words))
    }
    guard !separator.isEmpty else { throw Fault("'\(method.rawValue)' needs a separator that is not empty") }
    let pieces =
      method == .split ? text.split(by: separator, limit: limit) : text.splitFromEnd(by: separator, limit: limit)
    return try .list(checked(pieces))
  }

  private func matches(_ method: StringMethod, _ text: Text, _ arguments: CallArguments) throws -> Bool {
    let bound = try positional(arguments, 3, required: 1, method)
    let (start, stop) = try (
      bound[1].unlessNone?.requireInteger("a place"), bound[2].unlessNone?.requireInteger("a place")
    )
    let range = text.byteRange(start, stop)
    func isMatch(_ value: Value) throws -> Bool {
      let affix = try value.requireText("'\(method.rawValue)'")
      guard let range, affix.bytes.count <= range.count else { return false }
      let bytes = text.bytes[range]
      return method == .startswith
        ? bytes.starts(with: affix.bytes) : bytes.suffix(affix.bytes.count).elementsEqual(affix.bytes)
    }
    if case .tuple(let affixes)? = bound[0] { return try affixes.items.contains(where: isMatch) }
    return try isMatch(bound[0] ?? .none)
  }

  private func search(_ method: StringMethod, _ text: Text, _ arguments: CallArguments) throws -> Int {
    let bound = try positional(arguments, 3, required: 1, method)
    let pattern = try (bound[0] ?? .none).requireText("'\(method.rawValue)'")
    let (start, stop) = try (
      bound[1].unlessNone?.requireInteger("a place"), bound[2].unlessNone?.requireInteger("a place")
    )
    let range = text.byteRange(start, stop)
    if method == .count {
      guard let range else { return 0 }
      return pattern.isEmpty ? text.slice(range).count + 1 : text.occurrences(of: pattern.bytes, in: range).count
    }
    let isLast = method == .rfind || method == .rindex
    var place: Int?
    if let range, pattern.isEmpty {
      place = isLast ? range.upperBound : range.lowerBound
    } else if let range {
      place =
        isLast
        ? text.lastOccurrences(of: pattern.bytes, in: range, limit: 1).first
        : text.occurrences(of: pattern.bytes, in: range, limit: 1).first
    }
    if let place { return text.codePoint(atByte: place) }
    guard method == .find || method == .rfind else { throw Fault("'\(method.rawValue)': the substring is not found") }
    return -1
  }

  private func replace(_ text: Text, _ arguments: CallArguments) throws -> Text {
    let bound = try positional(arguments, 3, required: 2, .replace)
    let (old, new) = try ((bound[0] ?? .none).requireText("'replace'"), (bound[1] ?? .none).requireText("'replace'"))
    return try replace(text, old, new, limit: try bound[2]?.requireInteger("'replace'") ?? -1)
  }

  func replace(_ text: Text, _ old: Text, _ new: Text, limit: Int) throws -> Text {
    // The worst case: as many replacements as there can be.
    let most = min(text.bytes.count / max(old.bytes.count, 1) + 1, limit < 0 ? .max : limit)
    if meter.product(most, new.bytes.count) > meter.limits.bytes {
      let found = old.isEmpty ? text.count + 1 : text.occurrences(of: old.bytes, in: 0..<text.bytes.count).count
      try meter.charge(bytes: meter.product(min(found, most), new.bytes.count))
    }
    let result = text.replacing(old, with: new, limit: limit)
    try meter.charge(bytes: result.bytes.count)
    return result
  }

  private func join(_ separator: Text, _ arguments: CallArguments) throws -> Text {
    let bound = try positional(arguments, 1, required: 1, .join)
    return try join(separator, try items(of: bound[0] ?? .none).map { try $0.requireText("'join'") })
  }

  func join(_ separator: Text, _ items: [Text]) throws -> Text {
    var size = meter.product(separator.bytes.count, max(items.count - 1, 0))
    for item in items {
      size = size.addingReportingOverflow(item.bytes.count).overflow ? .max : size + item.bytes.count
    }
    try meter.charge(bytes: size)
    return separator.joined(items)
  }

  private func remove(_ method: StringMethod, _ text: Text, _ arguments: CallArguments) throws -> Text {
    let affix = try (positional(arguments, 1, required: 1, method)[0] ?? .none).requireText("'\(method.rawValue)'")
    guard !affix.isEmpty else { return text }
    if method == .removeprefix {
      return text.bytes.starts(with: affix.bytes) ? text.slice(affix.bytes.count..<text.bytes.count) : text
    }
    let isSuffix = text.bytes.suffix(affix.bytes.count).elementsEqual(affix.bytes)
    return isSuffix ? text.slice(0..<text.bytes.count - affix.bytes.count) : text
  }

  private func partition(_ method: StringMethod, _ text: Text, _ arguments: CallArguments) throws -> Value {
    let separator = try (positional(arguments, 1, required: 1, method)[0] ?? .none).requireText("'\(method.rawValue)'")
    guard !separator.isEmpty else { throw Fault("'\(method.rawValue)' needs a separator that is not empty") }
    let all = 0..<text.bytes.count
    let isLast = method == .rpartition
    let place =
      isLast
      ? text.lastOccurrences(of: separator.bytes, in: all, limit: 1).first
      : text.occurrences(of: separator.bytes, in: all, limit: 1).first
    guard let place else {
      return try .tuple((isLast ? [.empty, .empty, text] : [text, .empty, .empty]).map { .string($0) })
    }
    let end = place + separator.bytes.count
    return try .tuple(
      [text.slice(0..<place), text.slice(place..<end), text.slice(end..<all.upperBound)].map { .string($0) })
  }

  private func pad(_ method: StringMethod, _ text: Text, _ arguments: CallArguments) throws -> Text {
    if method == .expandtabs { return try expandTabs(text, arguments) }
    let bound = try positional(arguments, method == .zfill ? 1 : 2, required: 1, method)
    let width = try (bound[0] ?? .none).requireInteger("'\(method.rawValue)'")
    if method == .zfill { return try fillZeros(text, width) }
    let fill = try bound[1]?.requireText("'\(method.rawValue)'") ?? Text(" ")
    guard fill.count == 1 else { throw Fault("'\(method.rawValue)' needs one character to fill with") }
    return try padded(text, width, fill, method)
  }

  /// - Parameter method: `center`, `ljust` or `rjust`
  func padded(_ text: Text, _ width: Int, _ fill: Text, _ method: StringMethod) throws -> Text {
    let missing = max(width - text.count, 0)
    guard missing > 0 else { return text }
    try meter.charge(bytes: meter.product(missing, fill.bytes.count))
    // Python's own rounding of an odd rest.
    let left = method == .ljust ? 0 : method == .rjust ? missing : missing / 2 + (missing & width & 1)
    return fill.repeated(left) + text + fill.repeated(missing - left)
  }

  private func fillZeros(_ text: Text, _ width: Int) throws -> Text {
    let missing = max(width - text.count, 0)
    try meter.charge(bytes: missing)
    let isSigned = text.bytes.first == UInt8(ascii: "-") || text.bytes.first == UInt8(ascii: "+")
    let sign = isSigned ? 1 : 0
    return text.slice(0..<sign) + Text("0").repeated(missing) + text.slice(sign..<text.bytes.count)
  }

  private func expandTabs(_ text: Text, _ arguments: CallArguments) throws -> Text {
    let size = try arguments.bound(to: ["tabsize"], of: "expandtabs")[0]?.requireInteger("'expandtabs'") ?? 8
    try meter.charge(bytes: meter.product(text.bytes.count { $0 == 9 }, max(size, 0)))
    var column = 0
    return text.mapped { _, scalar in
      if scalar == "\t" {
        let spaces = size > 0 ? size - column % size : 0
        column += spaces
        return String(repeating: " ", count: spaces)
      }
      column = scalar == "\n" || scalar == "\r" ? 0 : column + 1
      return String(scalar)
    }
  }
}

extension Text {
  fileprivate func cased(_ method: StringMethod) -> Text {
    switch method {
    case .upper: uppercased
    case .lower: lowercased
    case .capitalize: capitalized
    case .title: titled
    default: swappedCase
    }
  }

  fileprivate func satisfies(_ method: StringMethod) -> Bool {
    let all = string.unicodeScalars
    switch method {
    case .isascii: return isASCII
    case .isprintable: return all.allSatisfy(Python.isPrintable)
    case .islower: return isCased(upper: false)
    case .isupper: return isCased(upper: true)
    case .istitle: return isTitle
    case .isidentifier:
      guard let first = all.first else { return false }
      return (first == "_" || first.properties.isXIDStart) && all.dropFirst().allSatisfy { $0.properties.isXIDContinue }
    default: return !isEmpty && all.allSatisfy { $0.satisfies(method) }
    }
  }

  /// At least one cased character, and none of the other case.
  func isCased(upper: Bool) -> Bool {
    var found = false
    for scalar in string.unicodeScalars {
      let properties = scalar.properties
      let isTitle = properties.generalCategory == .titlecaseLetter
      if isTitle || (upper ? properties.isLowercase : properties.isUppercase) { return false }
      if upper ? properties.isUppercase : properties.isLowercase { found = true }
    }
    return found
  }

  private var isTitle: Bool {
    var (found, isInside) = (false, false)
    for scalar in string.unicodeScalars {
      let properties = scalar.properties
      if properties.isUppercase || properties.generalCategory == .titlecaseLetter {
        if isInside { return false }
        (found, isInside) = (true, true)
      } else if properties.isLowercase {
        if !isInside { return false }
        (found, isInside) = (true, true)
      } else {
        isInside = false
      }
    }
    return found
  }
}

extension Unicode.Scalar {
  fileprivate func satisfies(_ method: StringMethod) -> Bool {
    switch method {
    case .isspace: isPythonSpace
    case .isalpha: isLetter
    case .isdecimal: properties.generalCategory == .decimalNumber
    case .isdigit: properties.numericType == .decimal || properties.numericType == .digit
    case .isnumeric: properties.numericType != nil
    default: isLetter || properties.numericType != nil
    }
  }

  private var isLetter: Bool {
    switch properties.generalCategory {
    case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: true
    default: false
    }
  }
}
