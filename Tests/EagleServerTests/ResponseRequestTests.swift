import EagleCore
import EagleServer
import EagleText
import Foundation
import Testing

@Suite struct ResponseRequestTests {
  private func request(_ json: String, isStrict: Bool = false) throws -> ResponseRequest {
    var rules = RequestRules(names: ["small"], vocabularySize: 1000)
    rules.isStrict = isStrict
    return try ResponseRequest(try RequestFields(Data(json.utf8)), rules, makeSeed: { 99 })
  }

  @Test("a string is a user's message, and instructions come before it")
  func plainInput() throws {
    let request = try request(#"{"input": "hello", "instructions": "be short", "max_output_tokens": 7}"#)
    #expect(
      request.chat.messages == [
        ChatMessage(role: .system, content: "be short"), ChatMessage(role: .user, content: "hello"),
      ])
    #expect(request.chat.settings.maxTokens == 7 && request.chat.settings.sampling.seed == 99)
    #expect(request.echo["instructions"] == "be short" && request.echo["max_output_tokens"] == 7)
  }

  @Test("reasoning, text and calls of an answer become one message, and results messages of their own")
  func items() throws {
    let request = try request(
      """
      {"input": [
        {"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "why"}]},
        {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed",
         "content": [{"type": "output_text", "text": "so", "annotations": []}]},
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "add", "arguments": "{\\"a\\": 1}"},
        {"type": "function_call", "call_id": "c2", "name": "now", "arguments": ""},
        {"type": "function_call_output", "call_id": "c1", "output": "5"},
        {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "noon"}]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "short"}], "encrypted_content": "x"},
        {"type": "message", "role": "assistant", "content": "done"},
        {"type": "message", "role": "assistant", "content": "again"},
        {"type": "message", "role": "user", "content": "more"}]}
      """)
    let messages = request.chat.messages
    #expect(messages.map(\.role) == [.user, .assistant, .tool, .tool, .assistant, .assistant, .user])
    #expect(messages.map(\.content) == ["a\nb", "so", "5", "noon", "done", "again", "more"])
    #expect(messages[1].extra["reasoning_content"] == "why" && messages[4].extra["reasoning_content"] == "short")
    let calls = try #require(messages[1].extra["tool_calls"]?.array)
    #expect(calls.map { $0.object?["id"] } == ["c1", "c2"])
    #expect(messages[2].extra["tool_call_id"] == "c1" && messages[5].extra.isEmpty)
  }

  @Test("text behind a call is text of the same message, so that the result follows its call")
  func textBehindACall() throws {
    let request = try request(
      """
      {"input": [
        {"role": "user", "content": "a"}, {"type": "message", "role": "assistant", "content": "first"},
        {"type": "function_call", "call_id": "c1", "name": "add", "arguments": ""},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "then"}]},
        {"type": "function_call_output", "call_id": "c1", "output": "5"},
        {"type": "function_call", "call_id": "c2", "name": "now", "arguments": ""},
        {"type": "message", "role": "assistant", "content": "alone"},
        {"type": "function_call_output", "call_id": "c2", "output": "noon"}]}
      """)
    let messages = request.chat.messages
    #expect(messages.map(\.role) == [.user, .assistant, .tool, .assistant, .tool])
    #expect(messages.map(\.content) == ["a", "first\nthen", "5", "alone", "noon"])
    let calls = [messages[1], messages[3]].map { $0.extra["tool_calls"]?.array?.count }
    #expect(calls == [1, 1])
  }

  @Test("tools have the flat form, and chats' settings hold")
  func tools() throws {
    let request = try request(
      """
      {"input": "x", "tools": [{"type": "function", "name": "add", "parameters": {"type": "object"}, "strict": true}],
       "tool_choice": "auto", "parallel_tool_calls": false, "temperature": 0.7, "metadata": {"a": "b"}, "store": true,
       "reasoning": {"effort": "low"}, "text": {"format": {"type": "text"}}, "truncation": "disabled", "include": [],
       "stream": true, "user": "u", "top_logprobs": 0}
      """, isStrict: false)
    let definition = #"{"type":"function","function":{"name":"add","parameters":{"type":"object"},"strict":true}}"#
    #expect(request.chat.tools.definitions.map { $0.text() } == [definition])
    #expect(request.chat.tools.names == ["add"] && !request.chat.tools.isParallel)
    #expect(request.chat.templateOptions["reasoning_effort"] == "low" && request.chat.settings.isStreaming)
    #expect(request.echo["tools"]?.array?.first?.object?["name"] == "add" && request.echo["metadata"] == ["a": "b"])
    #expect(request.echo["temperature"]?.text() == "0.7" && request.echo["top_p"]?.double == 1)
    // Nothing is stored, and the response says so.
    #expect(request.chat.settings.ignored == ["store"] && request.echo["store"] == false)
  }

  @Test("fields that change nothing here are named, and refused where the server is strict")
  func unknownFields() throws {
    let json =
      #"{"input": "x", "text": {"verbosity": "low"}, "reasoning": {"summary": "auto"}, "truncation": "auto", "mood": 1}"#
    let names = ["text.verbosity", "reasoning.summary", "truncation", "mood"]
    #expect(try request(json).chat.settings.ignored == names)
    let error = try #require(throws: APIError.self) { try request(json, isStrict: true) }
    #expect(error.param == "text.verbosity")
    #expect(try request(#"{"input": "x", "store": true}"#, isStrict: true).chat.settings.ignored == ["store"])
  }

  @Test(
    "a wrong field is refused by its name",
    arguments: [
      ("{}", "input"), (#"{"input": []}"#, "input"), (#"{"input": 1}"#, "input"), (#"{"input": [1]}"#, "input[0]"),
      (#"{"input": [{}]}"#, "input[0].type"), (#"{"input": [{"type": "web_search_call"}]}"#, "input[0].type"),
      (#"{"input": [{"type": "item_reference", "id": "x"}]}"#, "input[0]"),
      (#"{"input": [{"role": "robot", "content": "x"}]}"#, "input[0].role"),
      (#"{"input": [{"role": "user", "content": [{"type": "input_image"}]}]}"#, "input[0].content[0]"),
      (#"{"input": [{"type": "function_call", "name": "a"}]}"#, "input[0]"),
      (
        #"{"input": [{"type": "function_call", "call_id": "c", "name": "a", "arguments": "["}]}"#,
        "input[0].tool_calls[0].function.arguments"
      ),
      (
        #"{"input": [{"role": "user", "content": "x"}, "#
          + #"{"type": "function_call", "call_id": "c", "name": "a", "arguments": ""}]}"#,
        "input"
      ),
      (#"{"input": [{"type": "function_call_output", "output": "x"}]}"#, "input[0].call_id"),
      (#"{"input": [{"type": "function_call_output", "call_id": "c"}]}"#, "input[0].output"),
      (#"{"input": [{"type": "reasoning", "summary": 1}]}"#, "input[0].summary"),
      (#"{"input": "x", "previous_response_id": "resp_1"}"#, "previous_response_id"),
      (#"{"input": "x", "conversation": "conv_1"}"#, "conversation"),
      (#"{"input": "x", "background": true}"#, "background"),
      (#"{"input": "x", "max_output_tokens": 0}"#, "max_output_tokens"),
      (#"{"input": "x", "text": {"format": {"type": "json_schema"}}}"#, "text.format"),
      (#"{"input": "x", "instructions": 1}"#, "instructions"), (#"{"input": "x", "reasoning": "low"}"#, "reasoning"),
      (#"{"input": "x", "tools": [{"type": "web_search"}]}"#, "tools[0]"),
      (#"{"input": "x", "tools": [{"type": "function", "function": {"name": "a"}}]}"#, "tools[0].name"),
      (#"{"input": "x", "tool_choice": "required"}"#, "tool_choice"),
    ] as [(String, String)])
  func refusals(json: String, param: String) throws {
    let error = try #require(throws: APIError.self) { try request(json) }
    #expect(error.status == 400 && error.param == param, "\(error)")
  }
}
