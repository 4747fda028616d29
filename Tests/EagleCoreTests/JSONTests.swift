import EagleCore
import Foundation
import Testing

@Suite struct JSONReadTests {
  private func read(_ text: String) throws -> JSON { try JSON.read(Array(text.utf8)) }

  @Test(
    "every kind of value is read",
    arguments: [
      ("null", JSON.null), (" true ", true), ("\t\r\nfalse\n", false), ("\"\"", ""), ("[]", []), ("{}", [:]),
      ("[1,-2 , 3]", [1, -2, 3]), (#"{"a": [null, {"b": "c"}]}"#, ["a": [nil, ["b": "c"]]]), ("0", 0),
      ("-0", .number("-0")),
      ("1.50e+03", .number("1.50e+03")), (#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"),
      (#""\u00e9\u4E2d\ud83e\udd85\u0000""#, "é中🦅\0"), ("\"é中🦅\u{7f}\"", "é中🦅\u{7f}"), ("\u{feff}[1]", [1]),
    ] as [(String, JSON)])
  func values(text: String, value: JSON) throws {
    #expect(try read(text) == value)
  }

  @Test(
    "what is no JSON is refused, with its place",
    arguments: [
      ("", 0), ("  ", 2), ("nul", 0), ("nulll", 4), ("True", 0), ("NaN", 0), ("-Infinity", 1), ("01", 1), ("1.", 2),
      (".5", 0), ("+1", 0), ("-", 1), ("1e", 2), ("1e+", 3), ("0x1", 1), ("1 2", 2), ("[1,]", 3), ("[,1]", 1),
      ("[1", 2),
      ("[1 2]", 3), ("]", 0), ("{", 1), ("{\"a\"}", 4), ("{\"a\":}", 5), ("{\"a\":1,}", 7), ("{a:1}", 1),
      ("{'a':1}", 1),
      ("{\"a\":1 \"b\":2}", 7), ("\"a", 2), ("'a'", 0), ("\"a\nb\"", 2), ("\"\\x\"", 2), ("\"\\u12g4\"", 5),
      ("\"\\", 2), ("\"\\ud800\"", 1), ("\"\\udc00\"", 1), ("\"\\ud800\\u0041\"", 1), ("[1] // x", 4), ("[1]]", 3),
      ("\"\\u123\"", 6), ("[\"a\",\n 1.x]", 9),
    ])
  func faults(text: String, offset: Int) throws {
    let error = try #require(throws: JSONError.self) { try read(text) }
    #expect(error.offset == offset, "\(text): \(error)")
    #expect(!error.message.isEmpty && error.description.contains("byte \(offset)"))
  }

  @Test("an error names line, column, what was expected and what was found")
  func errorText() throws {
    let error = try #require(throws: JSONError.self) { try read("{\n  \"a\": 1,\n  \"b\" 2\n}") }
    #expect(error.description == "line 3, column 7 (byte 18): expected ':', found '2'")
  }

  @Test(
    "bytes that are no UTF-8 are refused at their place",
    arguments: [
      ([0xff], 1), ([0x61, 0xc3], 2), ([0xc0, 0xaf], 1), ([0xed, 0xa0, 0x80], 1), ([0xf4, 0x90, 0x80, 0x80], 1),
      ([0xe2, 0x82], 1), ([0x5c, 0x6e, 0x80], 3),
    ] as [([UInt8], Int)])
  func invalidUTF8(bytes: [UInt8], offset: Int) throws {
    let error = try #require(throws: JSONError.self) { try JSON.read([0x22] + bytes + [0x22]) }
    #expect(error.offset == offset && error.message.contains("UTF-8"), "\(error)")
  }

  @Test("nesting has a limit, and up to it is read")
  func depth() throws {
    func nested(_ levels: Int) -> [UInt8] {
      Array((String(repeating: "[", count: levels) + String(repeating: "]", count: levels)).utf8)
    }
    #expect(throws: Never.self) { try JSON.read(nested(64)) }
    let error = try #require(throws: JSONError.self) { try JSON.read(nested(65)) }
    #expect(error.offset == 64 && error.message == "nested more than 64 deep")
    #expect(throws: JSONError.self) { try JSON.read(nested(1_000_000)) }
    #expect(throws: Never.self) { try JSON.read(nested(200), depth: 200) }
    #expect(throws: JSONError.self) { try JSON.read(Array(String(repeating: "{\"a\":", count: 100).utf8)) }
  }

  @Test("a key that comes twice has its last value at its first place, also among many")
  func duplicates() throws {
    let few = try #require(try read(#"{"a": 1, "b": 2, "a": 3}"#).object)
    #expect(few.keys == ["a", "b"] && few["a"] == 3 && few["c"] == nil)
    let text = (0..<1000).map { "\"k\($0 % 500)\": \($0)" }.joined(separator: ",")
    let many = try #require(try read("{\(text)}").object)
    #expect(many.keys == (0..<500).map { "k\($0)" } && many["k7"] == 507)
  }

  @Test("keys are compared byte by byte")
  func keysAreBytes() throws {
    let object = try #require(try read("{\"\u{e9}\": 1, \"e\u{301}\": 2}").object)
    #expect(object.count == 2 && object["\u{e9}"] == 1 && object["e\u{301}"] == 2)
  }

  @Test("keys can be removed and changed")
  func editing() {
    var object = JSON.Object((0..<20).map { ("k\($0)", JSON($0)) })
    object["k3"] = nil
    object["k19"] = "x"
    object["new"] = nil
    #expect(object.count == 19 && object["k3"] == nil && object["k19"] == "x" && object["k4"] == 4)
    for index in 0..<18 { object["k\(index)"] = nil }
    #expect(object.keys == ["k18", "k19"] && object["k18"] == 18)
  }

  @Test("numbers are whole where they mean a whole number that fits")
  func numbers() throws {
    for (text, int) in [("7", 7), ("-7", -7), ("2.0", 2), ("1e3", 1000), ("-0", 0), ("9223372036854775807", Int.max)] {
      #expect(try read(text).int == int, "\(text)")
    }
    for text in ["1.5", "1e-3", "9223372036854775808", "1e400", "\"7\"", "true"] {
      #expect(try read(text).int == nil, "\(text)")
    }
    #expect(try read("18446744073709551615").unsigned == .max && read("-1").unsigned == nil)
    #expect(try read("18446744073709551616").unsigned == nil)
    #expect(try read("0.1").double == 0.1 && read("-2").double == -2 && read("1e400").double == nil)
  }

  @Test("token ids are read as such, a hundred thousand of them in milliseconds")
  func ids() throws {
    let ids = (0..<100_000).map { Int32($0 * 7919 % 150_000) }
    let bytes = Array("[\(ids.map(String.init).joined(separator: ", "))]".utf8)
    let start = ContinuousClock.now
    #expect(try JSON.read(bytes).int32s == ids)
    // The bound allows for a slow machine that also builds; a reader with quadratic error paths takes seconds.
    #expect(ContinuousClock.now - start < .milliseconds(500))
    for wrong in ["[1, \"2\"]", "[1.5]", "[2147483648]", "{}", "[[1]]"] { #expect(try read(wrong).int32s == nil) }
    #expect(try read("[]").int32s == [])
  }

  @Test("the time grows with the bytes, whatever they are")
  func hostile() throws {
    let levels = 60
    let deep =
      String(repeating: "[", count: levels) + String(repeating: "1,", count: 200_000) + "1"
      + String(repeating: "]", count: levels)
    let keys = "{" + (0..<50_000).map { "\"\($0)\":{}" }.joined(separator: ",") + "}"
    let escapes = "\"" + String(repeating: "\\u00e9", count: 200_000) + "\""
    let start = ContinuousClock.now
    for text in [deep, keys, escapes] { _ = try read(text) }
    #expect(ContinuousClock.now - start < .seconds(3))
  }
}

@Suite struct JSONWriteTests {
  private let value: JSON = ["b": [1, .number("2.50"), nil, true, []], "a": ["é\"\\\n\u{1}": "中🦅"], "c": [:]]

  /// The expected texts are those of Python 3.12's `json.dumps`, except for the spelling of 2.50.
  @Test("values are written as json.dumps writes them")
  func formats() {
    #expect(value.text() == #"{"b":[1,2.50,null,true,[]],"a":{"é\"\\\n\u0001":"中🦅"},"c":{}}"#)
    #expect(value.text(.spaced) == #"{"b": [1, 2.50, null, true, []], "a": {"é\"\\\n\u0001": "中🦅"}, "c": {}}"#)
    var format = JSON.Format.spaced
    (format.ensuresASCII, format.sortsKeys) = (true, true)
    #expect(
      value.text(format)
        == #"{"a": {"\u00e9\"\\\n\u0001": "\u4e2d\ud83e\udd85"}, "b": [1, 2.50, null, true, []], "c": {}}"#)
    let lines: JSON = ["a": [1, []], "b": [:]]
    #expect(lines.text(.indented(2)) == "{\n  \"a\": [\n    1,\n    []\n  ],\n  \"b\": {}\n}")
  }

  @Test("what is written is read again as it was")
  func roundTrip() throws {
    let text = value.text()
    #expect(try JSON.read(Array(text.utf8)) == value)
    #expect(try JSON.read(Data(text.utf8)).text() == text)
  }

  @Test("a non-finite number has no JSON")
  func nonFinite() {
    #expect(JSON(Double.nan) == nil && JSON(Double.infinity) == nil && JSON(0.5) == .number("0.5"))
  }
}
