import EagleClient
import EagleCore
import EagleDecoding
import EagleText

/// A request in the format of OpenAI's API.
struct ServedRequest {
  let endpoint: CompletionClient.Endpoint
  let body: JSON

  /// - Parameters:
  ///   - model: the model's name on the server
  ///   - options: variables of the chat template
  ///   - stopIDs: the ids that end a question
  init(_ request: DialogueRequest, model: String, options: JSON.Object, stopIDs: Set<Int32>) {
    var fields = Self.settings(request, model: model)
    switch request.kind {
    case .answer(let messages, let tools):
      endpoint = .chat
      fields["messages"] = .array(messages.map(Self.message))
      if !tools.isEmpty { fields["tools"] = .array(tools) }
      if !options.isEmpty { fields["chat_template_kwargs"] = .object(options) }
    case .question:
      endpoint = .completions
      // Token ids, not text, because some servers put another BOS before a text.
      fields["prompt"] = .array(request.prompt.map { JSON(Int($0)) })
      fields["stop_token_ids"] = .array(stopIDs.sorted().map { JSON(Int($0)) })
    }
    body = .object(fields)
  }

  /// All sampling settings of the recipe. For settings that a request leaves out, servers use their own defaults, some
  /// from the model's generation_config.json.
  private static func settings(_ request: DialogueRequest, model: String) -> JSON.Object {
    let sampling = request.sampling
    var fields = JSON.Object([
      ("model", .string(model)), ("max_tokens", JSON(request.maxNewTokens)),
      ("temperature", number(sampling.temperature)), ("top_p", number(sampling.topP)),
      // SGLang does not accept 0 for all tokens.
      ("top_k", JSON(sampling.topK == 0 ? -1 : sampling.topK)), ("min_p", 0), ("repetition_penalty", 1),
    ])
    // All servers accept seeds of 31 bits.
    if !sampling.isGreedy { fields["seed"] = JSON(Int(sampling.seed & 0x7fff_ffff)) }
    return fields
  }

  /// The shortest decimal that converts to the same float.
  private static func number(_ value: Float) -> JSON { .number("\(value)") }

  /// The unchanged message: role, content, and further fields such as `reasoning_content` and `tool_calls`.
  private static func message(_ message: ChatMessage) -> JSON {
    var fields = JSON.Object([("role", .string(message.role.rawValue)), ("content", .string(message.content))])
    for (key, value) in message.extra.entries { fields[key] = value }
    return .object(fields)
  }
}
