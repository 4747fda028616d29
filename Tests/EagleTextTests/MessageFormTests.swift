import EagleCore
import EagleText
import Testing

@Suite struct MessageFormTests {
  private let tokenizer: Tokenizer

  init() throws { tokenizer = try SmallVocabulary().tokenizer() }

  private func template(_ text: String) throws -> ChatTemplate {
    var source = ChatTemplate.Source(path: "test", text: text)
    source.specialTokens = JSON.Object([("eos_token", "<|endoftext|>")])
    return try ChatTemplate(source, tokenizer: tokenizer)
  }

  private func prompt(_ text: String, _ messages: [ChatMessage]) throws -> String {
    let ids = try template(text).prompt(messages + [ChatMessage(role: .user, content: "x")], tokenizer: tokenizer)
    return tokenizer.decode(ids, skipSpecial: false)
  }

  private func message(arguments: JSON?) -> ChatMessage {
    var (message, function) = (ChatMessage(role: .assistant, content: ""), JSON.Object([("name", "f")]))
    function["arguments"] = arguments
    message.extra["tool_calls"] = [["function": .object(function)]]
    return message
  }

  private static func calls(_ body: String) -> String {
    "{% for m in messages %}{% for c in m.tool_calls or [] %}\(body){% endfor %}{{ m.content }}{% endfor %}"
  }

  /// Arguments in the forms of requests and data files.
  private static let spellings: [JSON?] = [#"{"a": "b"}"#, ["a": "b"], "", nil]

  @Test(
    "a template gets the arguments of calls in the form that it takes",
    arguments: [
      // As objects.
      ("{{ c.function.arguments | tojson }}", #"{"a": "b"}"#, "{}"),
      ("{% for k, v in c.function.arguments.items() %}{{ k }}={{ v }}{% endfor %}", "a=b", ""),
      // As texts: an object is no operand of +, and would be printed as Python prints it.
      ("{{ 'f' + c.function.arguments }}", #"f{"a": "b"}"#, "f{}"),
      ("{{ c.function.arguments }}", #"{"a": "b"}"#, "{}"),
      // A template that accepts both gets an object.
      (
        "{% if c.function.arguments is string %}text{% else %}{{ c.function.arguments | tojson }}{% endif %}",
        #"{"a": "b"}"#, "{}"
      ),
    ] as [(String, String, String)])
  func arguments(body: String, full: String, empty: String) throws {
    for (index, arguments) in Self.spellings.enumerated() {
      let text = try prompt(Self.calls(body), [message(arguments: arguments)])
      #expect(text == (index < 2 ? full : empty) + "x", "\(arguments?.text() ?? "none")")
    }
  }

  @Test("a template that cannot render calls at all gets objects")
  func neither() throws {
    let form = try template("{{ raise_exception('no tools') if messages | length > 2 }}{{ messages[0].content }}").form
    #expect(form == MessageForm() && form.arguments == .object)
  }

  @Test("a template that demands ids of nine letters or digits gets such ids, the same for a call and its result")
  func shortIDs() throws {
    func ids(_ id: String, check: String) throws -> [String] {
      var (asked, result) = (ChatMessage(role: .assistant, content: ""), ChatMessage(role: .tool, content: "5"))
      let function: JSON = ["name": "f", "arguments": "{}"]
      asked.extra["tool_calls"] = [["id": .string(id), "type": "function", "function": function]]
      result.extra["tool_call_id"] = .string(id)
      let text =
        "{% for m in messages %}{% for c in m.tool_calls or [] %}{% set id = c.id %}\(check){{ id }};{% endfor %}"
        + "{% if m.role == 'tool' %}{% set id = m.tool_call_id %}\(check){{ id }};{% endif %}"
        + "{{ m.content }}{% endfor %}"
      return try prompt(text, [asked, result]).split(separator: ";").map(String.init)
    }
    let check = "{% if id | length != 9 %}{{ raise_exception('nine') }}{% endif %}"
    let (first, second) = (try ids("call_ab_0_0", check: check), try ids("call_ab_0_1", check: check))
    #expect(first.count == 3 && first[0].count == 9 && first[0] == first[1], "\(first)")
    #expect(first[0] != second[0])
    #expect(try ids("abcDEF123", check: check) == ["abcDEF123", "abcDEF123", "5x"])
    #expect(try ids("call_ab_0_0", check: "") == ["call_ab_0_0", "call_ab_0_0", "5x"])
  }

  @Test("a developer's message is the system's, unless the template knows the role")
  func developer() throws {
    let messages = [ChatMessage(role: .developer, content: "brief")]
    let plain = "{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}"
    #expect(try prompt(plain, messages) == "system:brief;user:x;")
    let knowing = "{% if messages[0].role == 'developer' %}{% endif %}" + plain
    #expect(try prompt(knowing, messages) == "developer:brief;user:x;")
  }
}
