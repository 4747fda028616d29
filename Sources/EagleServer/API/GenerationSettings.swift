import EagleDecoding

/// What both endpoints can ask for.
package struct GenerationSettings: Equatable {
  /// Most new tokens; nil is what the endpoint takes.
  package var maxTokens: Int?
  package var sampling = SamplingOptions()
  /// Whether the request names the seed, so that its text should come again.
  package var hasSeed = false
  package var stops: [String] = []
  package var isStreaming = false
  package var includesUsage = false

  package static let mostStops = 4

  /// - Parameter draw: the seed of a request that names none
  /// - Throws: `APIError` for a value that is wrong or not supported
  package init(_ fields: inout RequestFields, served: String, draw: () -> UInt64) throws {
    if let model = try fields.string("model"), model != served {
      throw APIError.unknownModel(model, served: served)
    }
    let limit = try fields.integer("max_tokens", 1...(.max))
    maxTokens = try fields.integer("max_completion_tokens", 1...(.max)) ?? limit
    try readSampling(&fields, draw)
    stops = try Self.stops(&fields)
    isStreaming = try fields.bool("stream") ?? false
    if var options = try fields.object("stream_options") {
      guard isStreaming else {
        throw APIError.invalid("stream_options needs stream: true", param: "stream_options")
      }
      includesUsage = try options.bool("include_usage") ?? false
      options.ignore("include_obfuscation")
      try options.finish()
    }
    try Self.refuseOthers(&fields)
  }

  /// The API's default temperature is 1. What is as good as the likeliest token takes the likeliest token.
  private mutating func readSampling(_ fields: inout RequestFields, _ draw: () -> UInt64) throws {
    let temperature = Float(try fields.number("temperature", 0...2) ?? 1)
    sampling.temperature = temperature < 0.01 ? 0 : temperature
    sampling.topP = Float(try fields.number("top_p", 0...1) ?? 1)
    guard sampling.topP > 0 else { throw APIError.invalid("top_p must be above 0", param: "top_p") }
    sampling.topK = max(0, try fields.integer("top_k", -1...(.max)) ?? 0)
    sampling.minP = Float(try fields.number("min_p", 0...0.999_999) ?? 0)
    sampling.repetitionPenalty = Float(try fields.number("repetition_penalty", 0.01...100) ?? 1)
    let seed = try fields.integer("seed", .min...(.max))
    hasSeed = seed != nil
    sampling.seed = seed.map { UInt64(bitPattern: Int64($0)) } ?? draw()
  }

  private static func stops(_ fields: inout RequestFields) throws -> [String] {
    let stops = try fields.strings("stop") ?? []
    guard stops.count <= mostStops else {
      throw APIError.invalid("stop has \(stops.count) strings, \(mostStops) are possible", param: "stop")
    }
    guard !stops.contains("") else { throw APIError.invalid("stop must not hold an empty string", param: "stop") }
    return stops
  }

  /// Fields of the API that mean nothing here, and those that may only say what happens anyway.
  private static func refuseOthers(_ fields: inout RequestFields) throws {
    fields.ignore(
      "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention")
    try fields.require("n") { $0.int == 1 }
    for name in ["presence_penalty", "frequency_penalty"] {
      try fields.require(name) { $0.double == 0 }
    }
    for name in ["logprobs", "top_logprobs"] {
      try fields.require(name) { $0 == false || (name == "top_logprobs" && $0.int == 0) }
    }
    try fields.require("logit_bias") { $0.isEmpty }
  }
}
