import EagleCore
import EagleText
import Foundation
import Testing

/// The output of `Tools/oracles/make_corpus.py` and `corpus_reference.py`, and the tokenizer's folder; the test runs
/// only if all three are set.
private let corpus = ProcessInfo.processInfo.environment["EAGLE_CORPUS"]
private let reference = ProcessInfo.processInfo.environment["EAGLE_CORPUS_REFERENCE"]
private let folder = ProcessInfo.processInfo.environment["EAGLE_CORPUS_TOKENIZER"]

/// Compares tens of megabytes of mixed text with Hugging Face tokenizers: the same ids, and the same text from ids.
@Suite(.enabled(if: corpus != nil && reference != nil && folder != nil)) struct CorpusParityTests {
  private struct Header: Decodable {
    let documents: Int
    let bytes: Int
    let tokens: Int
    let decoded_otherwise: Int
    let sequences: Int
  }

  /// Counts of differences by kind. The first ones are printed.
  private struct Differences {
    var ids = 0
    var texts = 0
    var streams = 0

    mutating func report(_ what: String, _ place: String, _ text: String, _ keyPath: WritableKeyPath<Self, Int>) {
      self[keyPath: keyPath] += 1
      if self[keyPath: keyPath] <= 5 { print("\(what) of \(place) differs: \(text)") }
    }
  }

  @Test("ids and decoded texts of a corpus are those of Hugging Face tokenizers") func idsAndTextsAgree() throws {
    let tokenizer = try Tokenizer(folder: try #require(folder))
    var documents = BinaryReader(try Data(contentsOf: URL(fileURLWithPath: try #require(corpus))))
    var expected = BinaryReader(try Data(contentsOf: URL(fileURLWithPath: try #require(reference))))
    let header = try JSONDecoder().decode(Header.self, from: Data(expected.line()))
    var differences = Differences()
    var (bytes, tokens, decodedOtherwise) = (0, 0, 0)
    var spent = Duration.zero
    for index in 0..<header.documents {
      let text = documents.text()
      var ids: [Int32] = []
      spent += try ContinuousClock().measure { ids = try tokenizer.encode(text) }
      bytes += text.utf8.count
      tokens += ids.count
      if ids != expected.ids() { differences.report("ids", "document \(index)", excerpt(text), \.ids) }
      let decoded = expected.textUnlessSame()
      if decoded != nil { decodedOtherwise += 1 }
      checkDecoding(ids, decoded ?? text, tokenizer, "document \(index)", skipSpecial: false, &differences)
    }
    for index in 0..<header.sequences {
      let (ids, text) = (expected.ids(), expected.text())
      checkDecoding(ids, text, tokenizer, "sequence \(index)", skipSpecial: !index.isMultiple(of: 2), &differences)
    }
    #expect(documents.isAtEnd && expected.isAtEnd)
    #expect(bytes == header.bytes && decodedOtherwise == header.decoded_otherwise)
    #expect(differences.ids == 0 && tokens == header.tokens)
    #expect(differences.texts == 0 && differences.streams == 0)
    let rate = Double(bytes) / 1e6 / (spent / .seconds(1))
    print(
      "\(bytes) bytes, \(header.documents) documents, \(tokens) tokens, \(header.sequences) sequences of ids; "
        + "differences: \(differences.ids) in ids, \(differences.texts) in decoded texts, \(differences.streams) in streams; "
        + "\(decodedOtherwise) documents decode to normalised text or lack bytes; "
        + "\(String(format: "%.2f", rate)) MB/s")
  }

  /// Checks decoding at once and id by id; canonically equivalent texts count as different.
  private func checkDecoding(
    _ ids: [Int32], _ text: String, _ tokenizer: Tokenizer, _ place: String, skipSpecial: Bool,
    _ differences: inout Differences
  ) {
    let expected = Array(text.utf8)
    let decoded = tokenizer.decode(ids, skipSpecial: skipSpecial)
    if Array(decoded.utf8) != expected { differences.report("text", place, excerpt(decoded), \.texts) }
    var decoder = tokenizer.makeStreamingDecoder(skipSpecial: skipSpecial, startsText: true)
    var streamed: [UInt8] = []
    for id in ids { streamed.append(contentsOf: decoder.append(id).utf8) }
    streamed.append(contentsOf: decoder.finish().utf8)
    if streamed != expected { differences.report("stream", place, excerpt(decoded), \.streams) }
  }

  private func excerpt(_ text: String) -> String {
    String(String.UnicodeScalarView(text.unicodeScalars.prefix(120))).debugDescription
  }
}

/// Reads the oracles' binary files: little-endian numbers, and each list and text after its length.
private struct BinaryReader {
  private let bytes: [UInt8]
  private var position = 0

  init(_ data: Data) {
    bytes = Array(data)
  }

  var isAtEnd: Bool { position == bytes.count }

  /// The bytes up to a line end, which is skipped.
  mutating func line() -> ArraySlice<UInt8> {
    let end = bytes[position...].firstIndex(of: 0x0A) ?? bytes.count
    defer { position = end + 1 }
    return bytes[position..<end]
  }

  mutating func ids() -> [Int32] {
    let count = Int(number())
    return (0..<count).map { _ in Int32(bitPattern: number()) }
  }

  mutating func text() -> String { text(length: number()) }

  /// Nil if the file says that the text equals the encoded one.
  mutating func textUnlessSame() -> String? {
    let length = number()
    return length == .max ? nil : text(length: length)
  }

  private mutating func text(length: UInt32) -> String {
    defer { position += Int(length) }
    return String(decoding: bytes[position..<position + Int(length)], as: UTF8.self)
  }

  private mutating func number() -> UInt32 {
    defer { position += 4 }
    return (0..<4).reduce(0) { $0 | UInt32(bytes[position + $1]) << UInt32(8 * $1) }
  }
}
