/// The slots of a function that runs: the template, a macro or a recursive loop.
final class Activation {
  let level: Int
  let parent: Activation?
  var slots: [Value]
  /// Whether a macro refers to it, so that it must be emptied at the end.
  var isCaptured = false

  init(_ layout: FunctionLayout, parent: Activation?) {
    (level, self.parent) = (layout.level, parent)
    slots = Array(repeating: .undefined(nil), count: layout.slots)
  }

  /// The activation of the function that owns a slot, here or around.
  func owner(of slot: Slot) -> Activation? {
    var activation = self
    while activation.level != slot.function {
      guard let parent = activation.parent else { return nil }
      activation = parent
    }
    return activation
  }
}

/// A macro with the variables around it.
final class Macro: @unchecked Sendable {
  let definition: MacroDefinition
  let activation: Activation

  init(_ definition: MacroDefinition, _ activation: Activation) {
    (self.definition, self.activation) = (definition, activation)
  }
}

/// The items that a loop reads, one by one, and only as far as it must.
final class LoopSource {
  private var items: [Value]
  private var position = 0
  /// The condition after `if`; it is evaluated when an item is wanted.
  private let test: ((Value) throws -> Bool)?

  init(_ items: [Value], test: ((Value) throws -> Bool)?) { (self.items, self.test) = (items, test) }

  /// The length where it is known without reading.
  var count: Int? { test == nil ? items.count : nil }

  func next() throws -> Value? {
    while position < items.count {
      let item = items[position]
      position += 1
      if try test?(item) ?? true { return item }
    }
    return nil
  }
}

/// The special variable `loop`.
final class LoopContext: @unchecked Sendable {
  private let source: LoopSource
  let depth0: Int
  let depthOfItems: Int
  /// The loop that `loop(...)` runs again.
  let recursion: (loop: Loop, activation: Activation)?
  private(set) var index0 = -1
  private var knownLength: Int?
  /// Items that were read ahead.
  private var ahead: [Value] = []
  private var current: Value?
  private var before: Value?
  private var changedValue: [Value]?

  init(_ source: LoopSource, depth0: Int, depthOfItems: Int, recursion: (loop: Loop, activation: Activation)?) {
    (self.source, self.depth0, self.depthOfItems, self.recursion) = (source, depth0, depthOfItems, recursion)
  }

  var index: Int { index0 + 1 }
  var isNonEmpty: Bool { ((try? length()) ?? 0) > 0 }

  func next() throws -> Value? {
    let item = ahead.isEmpty ? try source.next() : ahead.removeFirst()
    guard let item else { return nil }
    index0 += 1
    (before, current) = (current, item)
    return item
  }

  func length() throws -> Int {
    if let knownLength { return knownLength }
    var length = source.count
    if length == nil {
      while let item = try source.next() { ahead.append(item) }
      length = index + ahead.count
    }
    knownLength = length
    return length ?? 0
  }

  private func peek() throws -> Value? {
    if ahead.isEmpty, let item = try source.next() { ahead.append(item) }
    return ahead.first
  }

  func attribute(_ name: String) throws -> Value? {
    switch name {
    case "index": .int(index)
    case "index0": .int(index0)
    case "revindex": .int(try length() - index0)
    case "revindex0": .int(try length() - index)
    case "first": .bool(index0 == 0)
    case "last": .bool(try peek() == nil)
    case "length": .int(try length())
    case "depth": .int(depth0 + 1)
    case "depth0": .int(depth0)
    case "previtem": index0 == 0 ? .undefined("the item before the first one") : before
    case "nextitem": try peek() ?? .undefined("the item behind the last one")
    default: nil
    }
  }

  func changed(_ values: [Value], _ meter: Meter) throws -> Bool {
    if let changedValue, try meter.areEqual(changedValue, values) { return false }
    changedValue = values
    return true
  }
}
