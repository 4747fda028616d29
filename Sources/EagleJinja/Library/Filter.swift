/// The filters of templates.
enum Filter: String {
  case abs, attr, batch, capitalize, center, count, d, `default`, dictsort, e, escape, first, float, forceescape
  case format, groupby, indent, int, items, join, last, length, list, lower, map, max, min, pprint, reject, rejectattr
  case replace, reverse, round, safe, select, selectattr, slice, sort, string, striptags, sum, title, tojson, trim
  case truncate, unique, upper, urlencode, wordcount
}

/// A filter as a template names it.
struct FilterName: Sendable {
  let name: String
  let filter: Filter?

  init(_ name: String) {
    self.name = name
    // `pprint` has no rules that a template could rely on.
    filter = name == "pprint" ? nil : Filter(rawValue: name)
  }

  var isKnown: Bool { filter != nil }
}

extension Renderer {
  func apply(_ name: FilterName, to value: Value, _ arguments: CallArguments) throws -> Value {
    guard let filter = name.filter else { throw Fault("there is no filter '\(name.name)'") }
    switch filter {
    case .capitalize, .center, .escape, .e, .forceescape, .format, .indent, .join, .lower, .replace, .safe, .string,
      .striptags, .title, .tojson, .trim, .truncate, .upper, .urlencode, .wordcount:
      return try text(filter, value, arguments)
    case .abs, .float, .int, .round, .sum: return try number(filter, value, arguments)
    case .attr, .d, .default, .count, .length, .first, .last, .min, .max:
      return try one(filter, value, arguments)
    default: return try sequence(filter, value, arguments)
    }
  }

  // MARK: text

  private func text(_ filter: Filter, _ value: Value, _ arguments: CallArguments) throws -> Value {
    if filter == .format, case .string(let text) = value, text.isMarkup {
      throw Fault("'format' of escaped or safe text is not supported")
    }
    let name = filter.rawValue
    if filter == .tojson { return .string(try JSONFilter.text(of: value, arguments, self)) }
    if filter == .join { return .string(try join(value, arguments)) }
    if filter == .indent || filter == .truncate { return try reshape(filter, value, arguments) }
    let text = try meter.text(of: value)
    try meter.charge(bytes: text.bytes.count)
    switch filter {
    case .format:
      guard arguments.named.isEmpty || arguments.positional.isEmpty else {
        throw Fault("'format' takes arguments by position or by name, not both")
      }
      let named = try DictValue(arguments.named.map { (.text($0.name), $0.value) }, meter)
      let values = arguments.named.isEmpty ? try Value.tuple(arguments.positional) : .dict(named)
      return .string(try PercentFormat.format(text, values, self))
    case .replace:
      let bound = try arguments.bound(to: ["old", "new", "count"], required: 2, of: name)
      let (old, new) = try (meter.text(of: bound[0] ?? .none), meter.text(of: bound[1] ?? .none))
      return .string(try replace(text, old, new, limit: try bound[2].unlessNone?.requireInteger("'count'") ?? -1))
    case .trim:
      let characters = try arguments.bound(to: ["chars"], of: name)[0].unlessNone?.requireText("'trim'")
      return .string(text.stripped(characters.map { Set($0.string.unicodeScalars) }).marked(like: value))
    case .center:
      let width = try arguments.bound(to: ["width"], of: name)[0]?.requireInteger("'center'") ?? 80
      return .string(try padded(text, width, Text(" "), .center).marked(like: value))
    default:
      _ = try arguments.bound(to: [], of: name)
      return try plain(filter, value, text)
    }
  }

  private func plain(_ filter: Filter, _ value: Value, _ text: Text) throws -> Value {
    switch filter {
    case .capitalize: return .string(text.capitalized.marked(like: value))
    case .lower: return .string(text.lowercased.marked(like: value))
    case .upper: return .string(text.uppercased.marked(like: value))
    case .title: return .string(text.titledWords)
    case .escape, .e:
      if case .string(let own) = value, own.isMarkup { return value }
      return .string(text.escaped)
    case .forceescape: return .string(text.escaped)
    case .safe:
      var safe = text
      safe.isMarkup = true
      return .string(safe)
    case .string: return .string(value.text ?? text)
    case .striptags: return .string(text.withoutTags)
    case .urlencode: return .string(try urlEncoded(value, text))
    default: return .int(text.wordCount)
    }
  }

  private func join(_ value: Value, _ arguments: CallArguments) throws -> Text {
    let bound = try arguments.bound(to: ["d", "attribute"], of: "join")
    let separator = try bound[0].map { try meter.text(of: $0) } ?? .empty
    var items = try items(of: value)
    if let attribute = bound[1].unlessNone {
      let path = try AttributePath(attribute)
      items = try items.map { try path.value(in: $0, self) }
    }
    return try join(separator, try items.map { try meter.text(of: $0) })
  }

  private func reshape(_ filter: Filter, _ value: Value, _ arguments: CallArguments) throws -> Value {
    let text = try value.requireText("'\(filter.rawValue)'")
    guard !text.isMarkup else { throw Fault("'\(filter.rawValue)' of escaped or safe text is not supported") }
    try meter.charge(bytes: text.bytes.count)
    return .string(try filter == .indent ? indent(text, arguments) : truncate(text, arguments))
  }

  private func indent(_ text: Text, _ arguments: CallArguments) throws -> Text {
    let bound = try arguments.bound(to: ["width", "first", "blank"], of: "indent")
    var indentation = Text("    ")
    if case .string(let given)? = bound[0] {
      indentation = given
    } else if let width = bound[0] {
      let width = max(try width.requireInteger("'indent'"), 0)
      try meter.charge(bytes: width)
      indentation = Text(" ").repeated(width)
    }
    // As in jinja2 a line end is added first, so that a last empty line counts.
    let lines = (text + Text("\n")).lines()
    try meter.charge(bytes: text.bytes.count + meter.product(lines.count, indentation.bytes.count))
    let blank = bound[2]?.isTrue ?? false
    var builder = TextBuilder()
    for (i, line) in lines.enumerated() {
      if i > 0 { builder.append("\n", .template) }
      if i > 0 ? blank || !line.isEmpty : bound[1]?.isTrue ?? false { builder.append(indentation) }
      builder.append(line)
    }
    return builder.text
  }

  private func truncate(_ text: Text, _ arguments: CallArguments) throws -> Text {
    let bound = try arguments.bound(to: ["length", "killwords", "end", "leeway"], of: "truncate")
    let length = try bound[0]?.requireInteger("'length'") ?? 255
    let end = try bound[2]?.requireText("'end'") ?? Text("...")
    let leeway = try bound[3].unlessNone?.requireInteger("'leeway'") ?? 5
    guard length >= end.count, leeway >= 0 else { throw Fault("'truncate' needs a length of at least that of its end") }
    let starts = text.boundaries
    let (most, overflow) = length.addingReportingOverflow(leeway)
    guard !overflow, starts.count - 1 > most else { return text }
    let cut = text.slice(0..<starts[length - end.count])
    if bound[1]?.isTrue ?? false { return cut + end }
    return (cut.splitFromEnd(by: Text(" "), limit: 1).first ?? cut) + end
  }

  private func urlEncoded(_ value: Value, _ text: Text) throws -> Text {
    func quote(_ value: Value, isQuery: Bool) throws -> Text { try meter.text(of: value).urlEncoded(isQuery: isQuery) }
    switch value {
    case .dict, .list, .tuple, .view, .range, .generator, .undefined:
      let pairs: [[Value]]
      if case .dict(let dict) = value {
        pairs = dict.entries.map { [$0.0, $0.1] }
      } else {
        pairs = try items(of: value).map { try items(of: $0) }
      }
      let parts = try pairs.map { pair in
        guard pair.count == 2 else { throw Fault("'urlencode' needs pairs") }
        return try quote(pair[0], isQuery: true) + Text("=") + quote(pair[1], isQuery: true)
      }
      return try join(Text("&"), parts)
    default: return text.urlEncoded(isQuery: false)
    }
  }

  // MARK: numbers

  private func number(_ filter: Filter, _ value: Value, _ arguments: CallArguments) throws -> Value {
    switch filter {
    case .abs:
      _ = try arguments.bound(to: [], of: "abs")
      if let whole = value.integer { return whole < 0 ? try negated(.int(whole)) : .int(whole) }
      guard case .float(let number) = value else {
        throw value.isUndefined ? Fault.undefined(nil) : Fault("'abs' needs a number, not \(value.type)")
      }
      return .float(Swift.abs(number))
    case .int: return try integer(value, arguments)
    case .float:
      if case .undefined(let name) = value { throw Fault.undefined(name) }
      if let float = Python.float(value) { return .float(float) }
      return try arguments.bound(to: ["default"], of: "float")[0] ?? .float(0)
    case .round: return try round(value, arguments)
    default:
      let bound = try arguments.bound(to: ["attribute", "start"], of: "sum")
      let path = try bound[0].unlessNone.map { try AttributePath($0) }
      var total = bound[1] ?? .int(0)
      if case .string = total { throw Fault("'sum' does not add strings") }
      for item in try items(of: value) { total = try calculate(.add, total, try path?.value(in: item, self) ?? item) }
      return total
    }
  }

  private func integer(_ value: Value, _ arguments: CallArguments) throws -> Value {
    let bound = try arguments.bound(to: ["default", "base"], of: "int")
    let base = try bound[1]?.requireInteger("'base'") ?? 10
    switch value {
    case .int, .bigInt: return value
    case .bool(let flag): return .int(flag ? 1 : 0)
    case .undefined(let name): throw Fault.undefined(name)
    case .string(let text):
      if let whole = try Python.integer(text.string, base: base) { return whole }
    default: break
    }
    guard let number = Python.float(value), number.isFinite else { return bound[0] ?? .int(0) }
    return .int(try Python.truncated(number))
  }

  private func round(_ value: Value, _ arguments: CallArguments) throws -> Value {
    let bound = try arguments.bound(to: ["precision", "method"], of: "round")
    let precision = try bound[0].unlessNone?.requireInteger("'precision'") ?? 0
    let method = try bound[1]?.requireText("'method'").string ?? "common"
    guard ["common", "ceil", "floor"].contains(method) else { throw Fault("'round' has no method '\(method)'") }
    guard (-300...300).contains(precision) else { throw Fault("the precision of 'round' is out of bounds") }
    if case .undefined(let name) = value { throw Fault.undefined(name) }
    guard let number = value.number else { throw Fault("'round' needs a number, not \(value.type)") }
    guard method == "common" else { return try Python.rounded(value, number, precision, up: method == "ceil") }
    if let whole = value.integer { return .int(try Python.rounded(whole, precision)) }
    return .float(Python.rounded(number, precision))
  }

  // MARK: one value

  private func one(_ filter: Filter, _ value: Value, _ arguments: CallArguments) throws -> Value {
    switch filter {
    case .attr:
      let name = try (arguments.bound(to: ["name"], required: 1, of: "attr")[0] ?? .none).requireText("'attr'").string
      return try ownAttribute(name, of: value)
    case .d, .default:
      let bound = try arguments.bound(to: ["default_value", "boolean"], of: "default")
      let isMissing = value.isUndefined || (bound[1]?.isTrue ?? false) && !value.isTrue
      return isMissing ? bound[0] ?? .string(.empty) : value
    case .count, .length:
      _ = try arguments.bound(to: [], of: "length")
      return .int(try length(of: value))
    case .first:
      _ = try arguments.bound(to: [], of: "first")
      if case .generator(let generator) = value {
        return generator.takeFirst() ?? .undefined("the first item of an empty sequence")
      }
      return try items(of: value).first ?? .undefined("the first item of an empty sequence")
    case .last:
      _ = try arguments.bound(to: [], of: "last")
      if case .generator = value { throw Fault("the last item of a generator is not known") }
      return try items(of: value).last ?? .undefined("the last item of an empty sequence")
    default: return try extreme(filter, value, arguments)
    }
  }

  /// An attribute, never the item of a dictionary.
  private func ownAttribute(_ name: String, of value: Value) throws -> Value {
    if case .dict = value, !Self.dictNames.contains(name) { return .undefined("'\(name)'") }
    return try attribute(Attribute(name), of: value)
  }

  func length(of value: Value) throws -> Int {
    switch value {
    case .string(let text): return text.count
    case .list(let list), .tuple(let list): return list.items.count
    case .dict(let dict): return dict.count
    case .view(let view): return view.dict.count
    case .range(let range): return range.count
    case .undefined: return 0
    case .loop(let loop): return try loop.length()
    default: throw Fault("a \(value.type) has no length")
    }
  }

  private func extreme(_ filter: Filter, _ value: Value, _ arguments: CallArguments) throws -> Value {
    let bound = try arguments.bound(to: ["case_sensitive", "attribute"], of: filter.rawValue)
    let key = try KeyReader(bound[1], isCaseSensitive: bound[0]?.isTrue ?? false)
    var best: (item: Value, key: Value)?
    for item in try items(of: value) {
      let new = try key.value(of: item, self)
      guard let known = best else {
        best = (item, new)
        continue
      }
      let order = try filter == .min ? meter.compare(new, known.key) : meter.compare(known.key, new)
      if let order, order < 0 { best = (item, new) }
    }
    return best?.item ?? .undefined("an item of an empty sequence")
  }
}
