import EagleCore
import EagleDecoding
import EagleDraft

/// The settings of a request that all endpoints for generation share.
package struct GenerationSettings: Equatable, Sendable {
  /// The maximum number of new tokens; nil selects the endpoint's default.
  package var maxTokens: Int?
  /// Whether a request without `maxTokens` asks for as many tokens as fit into the context.
  package var hasNoLimit = false
  package var sampling = SamplingOptions()
  package var stops: [String] = []
  /// Token ids that end the sequence, in addition to the model's own.
  package var stopIDs: Set<Int32> = []
  /// Whether the model's own end tokens do not end the sequence.
  package var ignoresEnd = false
  package var skipsSpecial = true
  package var isStreaming = false
  package var includesUsage = false
  /// Whether a server that records answers may record those of this request: `store: false` forbids it.
  package var mayBeRecorded = true
  /// Fields of the request that this server does not know.
  package var ignored: [String] = []

  package static let maxStops = 16
  /// The maximum length of a stop string in bytes. Streaming holds back up to this many bytes of text, which may be the
  /// prefix of a stop string.
  package static let maxStopBytes = 1024
  package static let maxStopIDs = 256
  package static let maxBiases = 1024

  /// - Parameter makeSeed: the seed of a request that specifies none
  /// - Throws: `APIError` for a value that is wrong or not supported
  package init(_ fields: inout RequestFields, _ rules: RequestRules, makeSeed: () -> UInt64) throws {
    try rules.check(model: try fields.string("model"))
    try readLimits(&fields, rules)
    try readSampling(&fields, defaults: rules.sampling, makeSeed: makeSeed)
    try readPenalties(&fields, rules)
    isStreaming = try fields.bool("stream") ?? false
    try readStreamOptions(&fields)
    mayBeRecorded = try fields.bool("store") ?? true
    try Self.refuseOthers(&fields)
  }

  /// Records the fields that no reader has taken, or rejects them if the rules are strict.
  package mutating func finish(_ fields: RequestFields, _ rules: RequestRules) throws {
    ignored += fields.unread
    if rules.isStrict, let name = ignored.first {
      throw APIError.invalid("unknown field \(name)", param: name, code: "unknown_parameter")
    }
  }

  // MARK: length

  private mutating func readLimits(_ fields: inout RequestFields, _ rules: RequestRules) throws {
    let limit = try Self.limit(&fields, "max_tokens")
    let other = try Self.limit(&fields, "max_completion_tokens")
    hasNoLimit = [limit, other].contains(.unlimited)
    maxTokens = other?.tokens ?? limit?.tokens
    stops = try Self.stops(&fields)
    stopIDs = try Self.stopIDs(&fields, rules)
    ignoresEnd = try fields.bool("ignore_eos") ?? false
    skipsSpecial = try fields.bool("skip_special_tokens") ?? true
  }

  private enum Limit: Equatable {
    case unlimited
    case at(Int)

    var tokens: Int? { if case .at(let tokens) = self { tokens } else { nil } }
  }

  /// −1 means no limit, as in llama.cpp and LM Studio.
  private static func limit(_ fields: inout RequestFields, _ name: String) throws -> Limit? {
    guard let limit = try fields.integer(name, -1...(.max)) else { return nil }
    if limit == -1 { return .unlimited }
    guard limit > 0 else {
      throw APIError.invalid("\(name) must be 1 or more, or -1 for no limit, not 0", param: name)
    }
    return .at(limit)
  }

  private static func stops(_ fields: inout RequestFields) throws -> [String] {
    let stops = (try fields.strings("stop") ?? []).filter { !$0.isEmpty }
    guard stops.count <= maxStops else {
      throw APIError.invalid("stop has \(stops.count) strings, \(maxStops) are possible", param: "stop")
    }
    guard stops.allSatisfy({ $0.utf8.count <= maxStopBytes }) else {
      throw APIError.invalid("a string of stop has more than \(maxStopBytes) bytes", param: "stop")
    }
    return stops
  }

  private static func stopIDs(_ fields: inout RequestFields, _ rules: RequestRules) throws -> Set<Int32> {
    guard let value = fields.take("stop_token_ids") else { return [] }
    guard let ids = value.int32s, ids.count <= maxStopIDs, ids.allSatisfy({ rules.isToken(Int($0)) }) else {
      throw APIError.invalid(
        "stop_token_ids must be a list of at most \(maxStopIDs) token ids below \(rules.vocabularySize)",
        param: "stop_token_ids")
    }
    return Set(ids)
  }

  // MARK: sampling

  /// Fields that the request leaves out have the server's defaults. A temperature below 0.01 or a `top_p` of 0 selects
  /// greedy decoding.
  private mutating func readSampling(
    _ fields: inout RequestFields, defaults: SamplingOptions, makeSeed: () -> UInt64
  ) throws {
    sampling = defaults
    let temperature = try fields.number("temperature", 0...2).map(Float.init) ?? defaults.temperature
    let topP = try fields.number("top_p", 0...1).map(Float.init) ?? defaults.topP
    sampling.temperature = temperature < 0.01 || topP == 0 ? 0 : temperature
    sampling.topP = topP == 0 ? 1 : topP
    sampling.topK = max(0, try fields.integer("top_k", -1...(.max)) ?? defaults.topK)
    sampling.minP = try fields.number("min_p", 0...0.999_999).map(Float.init) ?? defaults.minP
    sampling.repetitionPenalty =
      try fields.number("repetition_penalty", 0.01...100).map(Float.init) ?? defaults.repetitionPenalty
    sampling.seed = try Self.seed(&fields) ?? makeSeed()
  }

  /// A signed or unsigned 64-bit integer.
  private static func seed(_ fields: inout RequestFields) throws -> UInt64? {
    guard let value = fields.take("seed") else { return nil }
    if let seed = value.unsigned { return seed }
    if let seed = value.int { return UInt64(bitPattern: Int64(seed)) }
    throw APIError.invalid("seed must be a whole number of 64 bits, not \(value.text().prefix(40))", param: "seed")
  }

  private mutating func readPenalties(_ fields: inout RequestFields, _ rules: RequestRules) throws {
    sampling.presencePenalty = Float(try fields.number("presence_penalty", -2...2) ?? 0)
    sampling.frequencyPenalty = Float(try fields.number("frequency_penalty", -2...2) ?? 0)
    sampling.logitBias = try Self.bias(fields.take("logit_bias"), rules)
  }

  /// `{"token id": bias}`; some clients write an empty list for no bias.
  private static func bias(_ value: JSON?, _ rules: RequestRules) throws -> [Int32: Float] {
    guard let value, value != [] else { return [:] }
    guard let object = value.object, object.count <= maxBiases else {
      throw APIError.invalid("logit_bias must be an object of at most \(maxBiases) token ids", param: "logit_bias")
    }
    var biases: [Int32: Float] = [:]
    for (key, value) in object.entries {
      guard let id = Int32(key), rules.isToken(Int(id)), let bias = value.double, (-100...100).contains(bias) else {
        throw APIError.invalid(
          "logit_bias must give token ids below \(rules.vocabularySize) a number from -100 to 100, not "
            + "\(key.prefix(40)): \(value.text().prefix(40))", param: "logit_bias")
      }
      biases[id] = Float(bias)
    }
    return biases
  }

  // MARK: others

  private mutating func readStreamOptions(_ fields: inout RequestFields) throws {
    guard var options = try fields.object("stream_options") else { return }
    guard isStreaming else {
      throw APIError.invalid("stream_options needs stream: true", param: "stream_options")
    }
    includesUsage = try options.bool("include_usage") ?? false
    options.ignore("include_obfuscation")
    ignored += options.unread
  }

  /// Ignores fields of the API that have no effect here, and rejects values that ask for unsupported behaviour.
  private static func refuseOthers(_ fields: inout RequestFields) throws {
    fields.ignore(
      "user", "metadata", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention")
    guard try fields.integer("n", 1...(.max)) ?? 1 == 1 else {
      throw APIError.invalid("n must be 1: send a request for each answer", param: "n", code: "unsupported_value")
    }
    try refuseFormats(&fields)
  }

  private static func refuseFormats(_ fields: inout RequestFields) throws {
    guard let format = fields.take("response_format"), format.object?["type"] != "text" else { return }
    let type = format.object?["type"]?.string ?? format.kind
    throw APIError.invalid(
      "response_format must be {\"type\": \"text\"}, not \(type.prefix(40)): constrained decoding is not supported",
      param: "response_format", code: "unsupported_value")
  }
}
