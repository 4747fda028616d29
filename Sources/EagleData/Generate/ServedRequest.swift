import EagleClient
import EagleCore
import EagleDecoding
import EagleText

/// A request as a server takes it.
struct ServedRequest {
  let endpoint: CompletionClient.Endpoint
  let body: JSON

  /// - Parameters:
  ///   - model: the model's name at the server
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
      // Ids, not text: some servers would put another BOS in front of a text.
      fields["prompt"] = .array(request.prompt.map { JSON(Int($0)) })
      fields["stop_token_ids"] = .array(stopIDs.sorted().map { JSON(Int($0)) })
    }
    body = .object(fields)
  }

  /// The sampling of the recipe, whole: for what a request does not say, servers have defaults of their own, some from
  /// the model's generation_config.json.
  private static func settings(_ request: DialogueRequest, model: String) -> JSON.Object {
    let sampling = request.sampling
    var fields = JSON.Object([
      ("model", .string(model)), ("max_tokens", JSON(request.maxNewTokens)),
      ("temperature", number(sampling.temperature)), ("top_p", number(sampling.topP)),
      // SGLang takes no 0 for all tokens.
      ("top_k", JSON(sampling.topK == 0 ? -1 : sampling.topK)), ("min_p", 0), ("repetition_penalty", 1),
    ])
    // 31 bits fit the seeds of all servers.
    if !sampling.isGreedy { fields["seed"] = JSON(Int(sampling.seed & 0x7fff_ffff)) }
    return fields
  }

  /// The shortest spelling that gives the same float.
  private static func number(_ value: Float) -> JSON { .number("\(value)") }

  /// The message as it came: role, content, and further fields such as `reasoning_content` and `tool_calls`.
  private static func message(_ message: ChatMessage) -> JSON {
    var fields = JSON.Object([("role", .string(message.role.rawValue)), ("content", .string(message.content))])
    for (key, value) in message.extra.entries { fields[key] = value }
    return .object(fields)
  }
}
