import EagleCore
import EagleJinja
import Testing

@Suite struct TemplateTests {
  @Test("a template renders text and variables")
  func renders() throws {
    let template = try Template("a {{ x }} b", name: "t")
    let rendered = try template.render(["x": "data"])
    #expect(rendered.text == "a data b" && rendered.dataRanges == [2..<6])
  }
}

extension JSON.Object: ExpressibleByDictionaryLiteral {
  package init(dictionaryLiteral entries: (String, JSON)...) { self.init(entries) }
}
