import EagleCore
import EagleRunFiles
import EagleServer
import Foundation
import Testing

@Suite struct ToolAnswerTests {
  private let writer = AnswerWriter(endpoint: .chat, id: "chatcmpl-ab", created: 5, model: "small")
  private let call = ToolCall(name: "add", arguments: #"{"a":1}"#)

  private func outcome(_ finish: Outcome.Finish) -> Outcome {
    Outcome(finish: finish, statistics: DecodingStatistics(), queueSeconds: 0)
  }

  private func text(_ data: Data) -> String { String(decoding: data, as: UTF8.self) }

  @Test("an answer has its reasoning and its calls as fields, and tool_calls as its end")
  func whole() {
    var written = AnswerWriter.Written([.reasoning("w"), .reasoning("hy"), .call(call, index: 0)], outcome(.stop))
    let answer = text(writer.answer([written]))
    let message =
      #""message":{"content":null,"reasoning_content":"why","refusal":null,"role":"assistant","tool_calls":["#
      + #"{"function":{"arguments":"{\"a\":1}","name":"add"},"id":"call_ab_0_0","type":"function"}]}"#
    #expect(answer.contains(message), "\(answer)")
    #expect(answer.contains(#""finish_reason":"tool_calls""#))
    written.outcome = outcome(.length)
    #expect(text(writer.answer([written])).contains(#""finish_reason":"length""#))
    written.pieces = []
    let plain = text(writer.answer([written]))
    #expect(plain.contains(#""message":{"content":"","refusal":null,"role":"assistant"}"#), "\(plain)")
  }

  @Test("no character of an answer ends a line of a stream, and an id of a call has at most 40 characters")
  func portableEvents() throws {
    let said = "a\u{2028}b\u{2029}c\u{85}d é € \u{2027}"
    let event = text(writer.piece(.content(said)))
    #expect(event.contains(#"a\u2028b\u2029c\u0085d é €"#), "\(event)")
    #expect(event.split(whereSeparator: \.isNewline).count == 1)
    let delta = try JSON.read(Data(event.dropFirst("data: ".count).utf8)).object?["choices"]?.array?[0].object?["delta"]
    #expect(delta?.object?["content"]?.string == said)
    let long = AnswerWriter(
      endpoint: .chat, id: "chatcmpl-" + String(repeating: "a", count: 32), created: 5, model: "small")
    let id = try #require(text(long.piece(.call(call, index: 127))).firstMatch(of: #/"id":"(call_[^"]*)"/#)?.output.1)
    #expect(id == "call_aaaaaaaaaaaaaaaaaaaaaaaa_0_127" && id.count <= 40)
  }

  @Test("a stream sends a call's id and name before its arguments")
  func streamed() {
    let events = text(writer.piece(.call(call, index: 1))).components(separatedBy: "\n\n")
    #expect(events.count == 3 && events[2].isEmpty)
    let first =
      #""delta":{"tool_calls":[{"function":{"arguments":"","name":"add"},"id":"call_ab_0_1","index":1,"type":"function"}]}"#
    #expect(events[0].contains(first), "\(events[0])")
    #expect(events[1].contains(#""delta":{"tool_calls":[{"function":{"arguments":"{\"a\":1}"},"index":1}]}"#))
    #expect(text(writer.piece(.reasoning("why"))).contains(#""delta":{"reasoning_content":"why"}"#))
    #expect(text(writer.piece(.content("so"))).contains(#""delta":{"content":"so"}"#))
    #expect(text(writer.end(outcome(.stop), hasCalls: true)).contains(#""finish_reason":"tool_calls""#))
    #expect(text(writer.end(outcome(.stop))).contains(#""finish_reason":"stop""#))
  }
}
