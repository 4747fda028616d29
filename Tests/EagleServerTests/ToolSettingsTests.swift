import EagleCore
import EagleServer
import Foundation
import Testing

@Suite struct ToolSettingsTests {
  private func settings(_ json: String) throws -> ToolSettings {
    var fields = try RequestFields(Data(json.utf8))
    let settings = try ToolSettings(&fields)
    #expect(fields.unread.isEmpty)
    return settings
  }

  static let add =
    #"{"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}"#

  @Test("tools reach the template as the request gave them, and tool_choice none hides them")
  func definitions() throws {
    let auto = try settings(
      #"{"tools": [\#(ToolSettingsTests.add)], "tool_choice": "auto", "parallel_tool_calls": false}"#)
    let sent = try JSON.read(Data(Self.add.utf8))
    #expect(auto.definitions == [sent])
    #expect(auto.names == ["add"] && !auto.isParallel)
    let none = try settings(#"{"tools": [\#(ToolSettingsTests.add)], "tool_choice": "none"}"#)
    #expect(none.definitions.isEmpty && none.names.isEmpty && none.isParallel)
    #expect(try settings("{}") == settings(#"{"tools": [], "functions": [], "function_call": "none"}"#))
  }

  @Test(
    "tools of another shape, and calls that must be made, are refused with the field at fault",
    arguments: [
      (#"{"tools": 1}"#, "tools"), (#"{"tools": [1]}"#, "tools[0]"),
      (#"{"tools": [{"type": "web_search"}]}"#, "tools[0]"),
      (#"{"tools": [{"type": "function", "function": {"name": "a b"}}]}"#, "tools[0].function.name"),
      (#"{"tools": [{"type": "function", "function": {}}]}"#, "tools[0].function.name"),
      (
        #"{"tools": [{"type": "function", "function": {"name": "a", "parameters": []}}]}"#,
        "tools[0].function.parameters"
      ),
      ("{\"tools\": [\(ToolSettingsTests.add), \(ToolSettingsTests.add)]}", "tools"),
      ("{\"tools\": [\(Array(repeating: "1", count: 129).joined(separator: ","))]}", "tools"),
      ("{\"tools\": [\(ToolSettingsTests.add)], \"tool_choice\": \"required\"}", "tool_choice"),
      (#"{"tool_choice": {"type": "function", "function": {"name": "add"}}}"#, "tool_choice"),
      (#"{"functions": [{"name": "add"}]}"#, "functions"), (#"{"function_call": {"name": "add"}}"#, "function_call"),
      (#"{"parallel_tool_calls": 1}"#, "parallel_tool_calls"),
    ] as [(String, String)])
  func refusals(json: String, param: String) throws {
    let error = try #require(throws: APIError.self) { try settings(json) }
    #expect(error.status == 400 && error.param == param, "\(error)")
  }

  private func check(_ json: String, role: String) throws {
    try ToolSettings.check(try #require(try JSON.read(Data(json.utf8)).object), role: role, path: "messages[1]")
  }

  @Test("calls with arguments as a string or an object, and results with their id, are taken")
  func calls() throws {
    for arguments in [#""{\"b\": 1.0, \"a\": []}""#, #"{"b": 1.0}"#, #""""#] {
      try check(
        #"{"name":"x","tool_calls":[{"id":"c","type":"function","function":{"name":"add","arguments":\#(arguments)}}]}"#,
        role: "assistant")
    }
    try check(#"{"tool_calls":[{"function":{"name":"now"}}]}"#, role: "assistant")
    try check(#"{"tool_call_id":"call_1"}"#, role: "tool")
    try check(#"{"tool_calls":null}"#, role: "user")
  }

  @Test(
    "calls and ids of another shape are refused with the field at fault",
    arguments: [
      ("{}", "tool", "tool_call_id"), (#"{"tool_call_id": 1}"#, "tool", "tool_call_id"),
      (#"{"tool_calls": []}"#, "user", "tool_calls"), (#"{"tool_calls": {}}"#, "assistant", "tool_calls"),
      (#"{"tool_calls": [{}]}"#, "assistant", "tool_calls[0]"),
      (
        #"{"tool_calls": [{"function": {"name": "a", "arguments": "{"}}]}"#, "assistant",
        "tool_calls[0].function.arguments"
      ),
      (
        #"{"tool_calls": [{"function": {"name": "a", "arguments": "[]"}}]}"#, "assistant",
        "tool_calls[0].function.arguments"
      ),
      (#"{"function_call": {"name": "a"}}"#, "assistant", "function_call"),
    ] as [(String, String, String)])
  func messageRefusals(json: String, role: String, param: String) throws {
    let error = try #require(throws: APIError.self) { try check(json, role: role) }
    #expect(error.status == 400 && error.param == "messages[1].\(param)", "\(error)")
  }
}
