import EagleCore
import Foundation

/// A chat template, read once and rendered as often as needed, on any number of threads at once.
///
/// The language is jinja2's as transformers sets it up: `trim_blocks`, `lstrip_blocks`, loop controls,
/// `{% generation %}`, a sandbox in which values do not change, and `raise_exception`, `strftime_now` and `tojson`.
///
/// ```swift
/// let template = try Template("{% for m in messages %}{{ m.content }}{% endfor %}", name: "chat_template.jinja")
/// let rendered = try template.render(["messages": [["content": "Hello"]]])
/// ```
package struct Template: Sendable {
  /// The name that errors give.
  package let name: String
  private let source: [UInt8]
  private let body: [Statement]
  private let frame = Frame()
  private let function = FunctionLayout()
  private let words: Set<String>

  /// Reads a template.
  ///
  /// - Parameters:
  ///   - source: the template
  ///   - name: what errors call it, usually its file
  /// - Throws: `TemplateError` with line and column
  package init(_ source: String, name: String) throws {
    self.name = name
    self.source = Lexer.normalized(source)
    do {
      body = try Parser.statements(of: self.source)
    } catch let fault as Fault {
      throw TemplateError(fault, name: name, source: self.source)
    }
    Resolver.resolve(body, frame, function)
    var vocabulary = Vocabulary()
    vocabulary.visit(body)
    words = vocabulary.words
  }

  /// Whether the template reads a variable, an attribute or a key of that name, or spells it as a string.
  package func referencesVariable(_ name: String) -> Bool { words.contains(name) }

  /// Renders the template.
  ///
  /// - Parameters:
  ///   - variables: what the template sees; every string in it, keys as well, is data
  ///   - trusted: more variables, whose strings count as the template's own: `bos_token` and its like
  ///   - limits: what the rendering may take
  ///   - now: the time of `strftime_now`
  /// - Throws: `TemplateError`; its kind is `raised` where the template itself refuses the variables
  package func render(
    _ variables: JSON.Object, trusted: JSON.Object = JSON.Object(), limits: RenderLimits = RenderLimits(),
    now: Date = Date()
  ) throws -> RenderedTemplate {
    let input = RenderInput(variables: variables, trusted: trusted, limits: limits, now: now)
    do {
      return RenderedTemplate(try Renderer(function, input).render(body, frame))
    } catch let fault as Fault {
      throw TemplateError(fault, name: name, source: source)
    }
  }
}

/// What a template rendered, and which parts of it came from where.
package struct RenderedTemplate: Sendable, Equatable {
  package let text: String
  /// UTF-8 ranges of `text` that come from strings of the variables; ascending, disjoint, not adjacent.
  package let dataRanges: [Range<Int>]
  /// UTF-8 ranges of `text` that `{% generation %}` blocks rendered; ascending, disjoint, not adjacent.
  package let generationRanges: [Range<Int>]

  init(_ rendered: Text) {
    text = rendered.string
    dataRanges = rendered.ranges(of: .data)
    generationRanges = rendered.ranges(of: .generation)
  }
}

extension Text {
  /// The byte ranges whose origin has a bit.
  fileprivate func ranges(of origin: Origin) -> [Range<Int>] {
    guard !runs.isEmpty else { return uniform.contains(origin) && !isEmpty ? [0..<bytes.count] : [] }
    var (ranges, start) = ([Range<Int>](), 0)
    for run in runs {
      if run.origin.contains(origin) {
        let begin = ranges.last?.upperBound == start ? ranges.removeLast().lowerBound : start
        ranges.append(begin..<run.end)
      }
      start = run.end
    }
    return ranges
  }
}

extension TemplateError {
  init(_ fault: Fault, name: String, source: [UInt8]) {
    let before = source[..<min(fault.offset ?? 0, source.count)]
    let lineStart = before.lastIndex(of: 0x0a).map { $0 + 1 } ?? 0
    self.init(
      kind: fault.kind, name: name, line: 1 + before.count { $0 == 0x0a },
      column: 1 + before[lineStart...].count { $0 & 0xc0 != 0x80 }, problem: fault.problem)
  }
}
