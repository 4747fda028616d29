import EagleCore
import EagleData
import Foundation
import Testing

@Suite struct GenerationConfigTests {
  @Test("the sampling of generated answers has its keys beside the others of its section")
  func keys() throws {
    #expect(
      try JSONStyle.compact.text(RegenerateConfig())
        == #"{"batch":64,"concurrency":32,"input":[],"max_new_tokens":256,"output":"","seed":0,"server":"","#
        + #""server_model":"","temperature":0,"top_k":0,"top_p":1}"#)
    #expect(
      try JSONStyle.compact.text(SynthesizeConfig())
        == #"{"batch":64,"concurrency":32,"conversations":0,"max_new_tokens":256,"openings":[""],"output":"","question_temperature":1,"#
        + #""question_tokens":128,"question_top_p":1,"seed":0,"server":"","server_model":"","temperature":0,"top_k":0,"top_p":1,"turns":1}"#
    )
  }

  @Test("settings come back from their text")
  func roundTrip() throws {
    var regenerate = RegenerateConfig()
    (regenerate.input, regenerate.output, regenerate.batch) = (["a"], "b", 3)
    (regenerate.sampling.temperature, regenerate.sampling.topK, regenerate.sampling.seed) = (0.7, 20, 9)
    (regenerate.server.url, regenerate.server.model, regenerate.server.concurrency) = ("http://a:1", "m", 5)
    #expect(try read(regenerate) == regenerate)
    var synthesize = SynthesizeConfig()
    (synthesize.conversations, synthesize.openings, synthesize.turns) = (7, ["x", ""], 2)
    (synthesize.questionTokens, synthesize.questionTemperature, synthesize.questionTopP) = (5, 0.9, 0.8)
    (synthesize.sampling.topP, synthesize.sampling.seed, synthesize.maxNewTokens) = (0.5, 4, 17)
    #expect(try read(synthesize) == synthesize)
  }

  private func read<Value: Codable>(_ value: Value) throws -> Value {
    try JSONDecoder().decode(Value.self, from: JSONStyle.compact.encode(value))
  }

  @Test("ranges of sampling are checked under the names of the section's keys")
  func ranges() throws {
    func complaint(_ change: (inout RegenerateConfig) -> Void) -> String {
      var config = RegenerateConfig()
      change(&config)
      do { try config.validate() } catch { return "\(error)" }
      return ""
    }
    #expect(complaint { $0.sampling.temperature = 0.001 } == "temperature must be 0, or 0.01 and more, not 0.001")
    #expect(complaint { $0.sampling.topK = -1 } == "top_k must be 0 or more, not -1")
    #expect(complaint { $0.sampling.topP = 1.5 } == "top_p must be above 0 and at most 1 (off), not 1.5")
    var synthesize = SynthesizeConfig()
    synthesize.questionTopP = 0
    #expect(throws: ConfigError(key: "question_top_p", message: "must be above 0 and at most 1 (off), not 0.0")) {
      try synthesize.validate()
    }
  }

  @Test("the settings of a server are checked under their keys")
  func serverSettings() {
    func complaint(_ change: (inout AnswerServerConfig) -> Void) -> String {
      var config = RegenerateConfig()
      change(&config.server)
      do { try config.validate() } catch { return "\(error)" }
      return ""
    }
    #expect(complaint { $0.url = "http://127.0.0.1:8000/v1" } == "")
    #expect(
      complaint { $0.url = "gpu:8000" } == "server must be a URL such as http://127.0.0.1:8000, not 'gpu:8000'")
    #expect(complaint { $0.url = "http://me:secret@gpu" } == "server must not hold a name or a password")
    #expect(complaint { $0.model = "m" }.hasPrefix("server_model is the model of a server, and there is none"))
    #expect(complaint { $0.concurrency = 0 } == "concurrency must be 1 or more, not 0")
    #expect(complaint { $0.concurrency = 5000 } == "concurrency must be 4096 or less, not 5000")
  }
}
