import EagleCore
import EagleRunFiles
import EagleServer
import Foundation
import Testing

@Suite struct ResponseWriterTests {
  private let writer = ResponseWriter(
    name: "ab", created: 5, model: "small", echo: JSON.Object([("metadata", JSON.object(JSON.Object()))]))
  private let call = ToolCall(name: "add", arguments: #"{"a":1}"#)

  private func outcome(_ finish: Outcome.Finish) -> Outcome {
    var statistics = DecodingStatistics()
    (statistics.promptTokens, statistics.cachedTokens, statistics.newTokens) = (10, 4, 7)
    var outcome = Outcome(finish: finish, statistics: statistics, queueSeconds: 0)
    outcome.reasoningTokens = 3
    return outcome
  }

  /// The objects of events, each of which has its type as its name.
  private func events(_ data: Data) throws -> [JSON.Object] {
    try String(decoding: data, as: UTF8.self).components(separatedBy: "\n\n").filter { !$0.isEmpty }.map { event in
      let lines = event.components(separatedBy: "\n")
      let fields = try #require(try JSON.read(Data(lines[1].dropFirst("data: ".count).utf8)).object)
      #expect(lines.count == 2 && fields["type"]?.string.map { "event: " + $0 } == lines[0])
      return fields
    }
  }

  @Test("a whole answer has an item for its reasoning, its text and each call")
  func whole() throws {
    let written = AnswerWriter.Written(
      [.reasoning("why"), .content("so"), .call(call, index: 0)], outcome(.stop))
    let answer = try #require(try JSON.read(writer.answer([written])).object)
    let items = try #require(answer["output"]?.array)
    let output = items.compactMap(\.object)
    #expect(output.map { $0["type"]?.string } == ["reasoning", "message", "function_call"])
    #expect(output.map { $0["id"]?.string } == ["rs_ab_0", "msg_ab_1", "fc_ab_2"])
    #expect(output[0]["content"] == [["type": "reasoning_text", "text": "why"]])
    #expect(output[1]["content"]?.array?.first?.object?["text"] == "so")
    #expect(output[2]["arguments"] == #"{"a":1}"# && output[2]["call_id"] == "call_ab_0")
    #expect(
      answer["status"] == "completed" && answer["incomplete_details"] == .null && answer["metadata"]?.isEmpty == true)
    let usage =
      #"{"input_tokens":10,"input_tokens_details":{"cached_tokens":4},"output_tokens":7,"output_tokens_details":{"reasoning_tokens":3},"total_tokens":17}"#
    #expect(answer["usage"]?.text() == usage)
  }

  @Test("an answer that was cut is incomplete, and one without text has an empty message")
  func cut() throws {
    let answer = try #require(try JSON.read(writer.answer([.init([.content("")], outcome(.length))])).object)
    #expect(answer["status"] == "incomplete" && answer["incomplete_details"] == ["reason": "max_output_tokens"])
    let item = answer["output"]?.array?.first?.object
    #expect(item?["status"] == "incomplete" && item?["content"]?.array?.first?.object?["text"] == "")
  }

  @Test("the events of a stream are numbered, open and close each item, and build the whole answer")
  func streamed() throws {
    var stream = writer
    var data = stream.opening()
    for piece: OutputParser.Piece in [
      .reasoning("w"), .reasoning("hy"), .content("s"), .content("o"), .call(call, index: 0),
    ] { data += stream.piece(piece) }
    data += stream.end(outcome(.stop)) + stream.closing([outcome(.stop)], includesUsage: false)
    let events = try self.events(data)
    #expect(events.map { $0["sequence_number"]?.int } == Array(0..<events.count))
    let part = ["content_part.added", "T.delta", "T.delta", "T.done", "content_part.done"]
    func item(_ inner: [String], _ text: String) -> [String] {
      ["output_item.added"] + inner.map { $0.replacingOccurrences(of: "T", with: text) } + ["output_item.done"]
    }
    let expected =
      ["created", "in_progress"] + item(part, "reasoning_text") + item(part, "output_text")
      + item(["T.delta", "T.done"], "function_call_arguments") + ["completed"]
    #expect(events.map { $0["type"]?.string } == expected.map { "response." + $0 })
    let last = try #require(events.last?["response"]?.object)
    let written = AnswerWriter.Written(
      [.reasoning("why"), .content("so"), .call(call, index: 0)], outcome(.stop))
    #expect(JSON.object(last) == (try JSON.read(writer.answer([written]))))
    let done = events.filter { $0["type"] == "response.output_item.done" }.compactMap { $0["item"] }
    #expect(last["output"] == .array(done) && events[2]["output_index"] == 0)
    // Every event of an item names it.
    #expect(events[4]["item_id"] == "rs_ab_0" && events[11]["item_id"] == "msg_ab_1")
  }

  @Test("text behind a call is an item behind the call's, whole and streamed")
  func textBehindACall() throws {
    let pieces: [OutputParser.Piece] = [.content("s"), .content("o"), .call(call, index: 0), .content("then")]
    var stream = writer
    var data = stream.opening()
    for piece in pieces { data += stream.piece(piece) }
    data += stream.end(outcome(.stop)) + stream.closing([outcome(.stop)], includesUsage: false)
    let last = try #require(try events(data).last?["response"])
    #expect(last == (try JSON.read(writer.answer([.init(pieces, outcome(.stop))]))))
    let items = last.object?["output"]?.array?.compactMap(\.object) ?? []
    #expect(items.map { $0["type"]?.string } == ["message", "function_call", "message"])
    #expect(items.map { $0["content"]?.array?.first?.object?["text"]?.string } == ["so", nil, "then"])
  }

  @Test("an error behind the beginning ends the stream as failed")
  func failed() throws {
    var stream = writer
    let events = try self.events(stream.opening() + stream.piece(.content("s")) + stream.failure(.stopping))
    #expect(events.suffix(2).map { $0["type"]?.string } == ["error", "response.failed"])
    #expect(events[events.count - 2]["code"] == "stopping")
    let response = try #require(events.last?["response"]?.object)
    #expect(response["status"] == "failed" && response["error"]?.object?["message"] == "the server is stopping")
  }
}
