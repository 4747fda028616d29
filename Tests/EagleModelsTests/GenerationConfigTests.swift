import EagleCore
import EagleModels
import Foundation
import Testing

@Suite struct GenerationConfigTests {
  private func read(_ json: String?) throws -> GenerationConfig {
    let scratch = try ModelScratch()
    if let json {
      try Data(json.utf8).write(to: URL(fileURLWithPath: "\(scratch.path)/generation_config.json"))
    }
    return try GenerationConfig(TextFiles(folder: scratch.path), vocabularySize: 100)
  }

  @Test("a folder without the file, and a file without sampling, recommend nothing")
  func absent() throws {
    #expect(try read(nil).stopIDs.isEmpty && !read(nil).hasSampling)
    let ids = try read(#"{"eos_token_id": 7, "bos_token_id": 1, "max_length": 20, "temperature": null}"#)
    #expect(ids.stopIDs == [7] && !ids.hasSampling)
  }

  @Test("every field is read")
  func fields() throws {
    let config = try read(
      #"{"eos_token_id": [7, 99], "do_sample": true, "temperature": 0.7, "top_p": 0.8, "top_k": 20, "min_p": 0.1, "#
        + #""repetition_penalty": 1.05}"#)
    #expect(config.stopIDs == [7, 99] && config.isSampling == true && config.hasSampling)
    #expect(config.temperature == 0.7 && config.topP == 0.8 && config.topK == 20 && config.minP == 0.1)
    #expect(config.repetitionPenalty == 1.05)
    #expect(try read(#"{"do_sample": false, "top_k": -1}"#).topK == 0)
  }

  @Test(
    "a value without a meaning is refused by file, key and rule",
    arguments: [
      (#"{"temperature": -1}"#, "temperature"), (#"{"temperature": "hot"}"#, "temperature"),
      (#"{"top_p": 0}"#, "top_p"),
      (#"{"top_p": 1.5}"#, "top_p"), (#"{"top_k": 2.5}"#, "top_k"), (#"{"top_k": -2}"#, "top_k"),
      (#"{"min_p": 1}"#, "min_p"), (#"{"repetition_penalty": 0}"#, "repetition_penalty"),
      (#"{"do_sample": "no"}"#, "do_sample"), (#"{"eos_token_id": 100}"#, "eos_token_id"),
      (#"{"eos_token_id": [1, -5]}"#, "eos_token_id"), (#"{"eos_token_id": "</s>"}"#, "eos_token_id"),
      (#"{"eos_token_id": [1.5]}"#, "eos_token_id"), ("[1]", "JSON object"), ("{", "JSON object"),
    ])
  func wrongValues(json: String, word: String) throws {
    let error = #expect(throws: LocatedError.self) { try read(json) }
    #expect(error?.description.contains(word) == true && error?.path.hasSuffix("generation_config.json") == true)
  }
}
