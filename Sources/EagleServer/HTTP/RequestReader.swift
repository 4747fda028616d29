import EagleChat
import EagleCore
import EagleDecoding
import EagleDraft
import EagleJinja
import EagleText
import Foundation

/// A parsed request: what to generate, and how to write the response.
struct ReadRequest: Sendable {
  struct Prompt: Sendable {
    let ids: [Int32]
    let options: DecodingOptions
  }

  let prompts: [Prompt]
  var settings: GenerationSettings
  /// The parser of reasoning and calls for each answer; nil if all of its text is content.
  var parsers: [OutputParser?]
  /// The detokenizer of each answer. Copies share the trie of the stop strings, which takes time and memory to build.
  let stream: StreamingDetokenizer
  /// Fields of the request that its response repeats.
  var echo = JSON.Object()
}

/// Turns the body of a request into prompts as token ids and the options of their decoding.
struct RequestReader: Sendable {
  let model: ChatModel
  let plan: DraftPlan
  let config: ServerConfig
  /// The maximum number of tokens of a sequence, including its prompt.
  let context: Int
  private let format: OutputFormat

  init(model: ChatModel, plan: DraftPlan, config: ServerConfig, context: Int) {
    (self.model, self.plan, self.config, self.context) = (model, plan, config, context)
    format = OutputFormat(model, config)
  }

  /// - Throws: `APIError` that names the invalid field
  func read(_ body: Data, _ endpoint: TextEndpoint) throws -> ReadRequest {
    let fields = try RequestFields(body)
    func makeSeed() -> UInt64 { .random(in: 0...(.max)) }
    switch endpoint {
    case .chat: return try read(try ChatRequest(fields, rules, makeSeed: makeSeed), input: "messages")
    case .response:
      let request = try ResponseRequest(fields, rules, makeSeed: makeSeed)
      var read = try read(request.chat, input: "input")
      read.echo = request.echo
      return read
    case .completion: return try read(try CompletionRequest(fields, rules, makeSeed: makeSeed))
    }
  }

  /// - Parameter input: the field of the messages, for errors
  private func read(_ request: ChatRequest, input: String) throws -> ReadRequest {
    let settings = try noting(request)
    let prompt = try prompt(request, input: input)
    let options = try options(settings, prompt: prompt, standardTokens: nil, input: input)
    let last = request.messages.last
    let isReasoning = model.opensReasoning(prompt) || last?.opensReasoning ?? false
    let hasReasoned =
      model.closesReasoning(prompt) || (last?.role == .assistant && last?.content.contains("</think>") ?? false)
    return ReadRequest(
      prompts: [.init(ids: prompt, options: options)], settings: settings,
      parsers: [format.parser(request, isReasoning: isReasoning, hasReasoned: hasReasoned)],
      stream: stream(settings, shown: format.markers(request)))
  }

  private func read(_ request: CompletionRequest) throws -> ReadRequest {
    let settings = request.settings
    let prompts = try request.prompts.map { prompt in
      let ids = try ids(prompt)
      let options = try options(
        settings, prompt: ids, standardTokens: CompletionRequest.defaultMaxTokens, input: "prompt")
      return ReadRequest.Prompt(ids: ids, options: options)
    }
    return ReadRequest(
      prompts: prompts, settings: settings, parsers: prompts.map { _ in nil }, stream: stream(settings, shown: []))
  }

  /// - Parameter shown: special tokens that are kept in the text because parsers look for them
  private func stream(_ settings: GenerationSettings, shown: Set<Int32>) -> StreamingDetokenizer {
    StreamingDetokenizer(model.tokenizer, stops: settings.stops, skipSpecial: settings.skipsSpecial, shown: shown)
  }

  /// The token ids of a chat.
  private func prompt(_ request: ChatRequest, input: String) throws -> [Int32] {
    let tools = request.tools.definitions
    guard tools.isEmpty || model.template.references("tools") else {
      throw APIError.invalid("the model's chat template takes no tools", param: "tools", code: "unsupported_value")
    }
    do {
      return try model.prompt(request.messages, tools: tools, options: request.templateOptions)
    } catch let error as TextError {
      throw APIError.invalid("\(error)", param: input)
    } catch let error as TemplateError where error.kind != .syntax {
      throw APIError.invalid("the chat template refuses the messages: \(error.problem)", param: input)
    }
  }

  /// The settings of a request, with the template variables that the model's template does not read added to the
  /// ignored fields.
  private func noting(_ request: ChatRequest) throws -> GenerationSettings {
    let unread = request.templateOptions.keys.filter { !model.template.references($0) }
    if config.isStrict, let name = unread.first {
      throw APIError.invalid(
        "the model's chat template has no variable \(name)", param: name, code: "unknown_parameter")
    }
    var settings = request.settings
    settings.ignored += unread
    return settings
  }

  private var rules: RequestRules {
    var rules = RequestRules(names: config.modelNames, vocabularySize: model.target.shape.vocabularySize)
    (rules.takesAnyName, rules.isStrict) = (config.takesAnyModel, config.isStrict)
    (rules.maxPrompts, rules.sampling) = (config.queue, config.sampling)
    return rules
  }

  /// A raw prompt may contain control tokens, because it is not a message of another party. It begins with exactly one
  /// BOS token of the model.
  private func ids(_ prompt: CompletionRequest.Prompt) throws -> [Int32] {
    do {
      switch prompt {
      case .text(let text): return try model.tokenizer.encodeFramed(text)
      case .ids(let ids): return ids
      }
    } catch let error as TextError {
      throw APIError.invalid("\(error)", param: "prompt")
    }
  }

  /// - Parameter standardTokens: the default of the maximum number of new tokens; nil for the rest of the context
  private func options(
    _ settings: GenerationSettings, prompt: [Int32], standardTokens: Int?, input: String
  ) throws -> DecodingOptions {
    let free = context - prompt.count
    guard free > 0 else {
      throw APIError.invalid(
        "the prompt of \(prompt.count) tokens leaves no room in the context of \(context)", param: input,
        code: "context_length_exceeded")
    }
    let stopIDs = settings.ignoresEnd ? settings.stopIDs : model.stopIDs.union(settings.stopIDs)
    return DecodingOptions(
      maxNewTokens: min(settings.maxTokens ?? (settings.hasNoLimit ? free : standardTokens ?? free), free),
      stopIDs: stopIDs, plan: plan(settings),
      sampling: settings.sampling)
  }

  /// A sampled sequence is drafted as a tree, whose tokens are the target's own samples. Its tokens therefore do not
  /// depend on whether other sequences are in the batch.
  private func plan(_ settings: GenerationSettings) -> DraftPlan {
    guard !settings.sampling.isGreedy, plan.isChain, plan.depth > 0 else { return plan }
    return DraftPlan(depth: min(plan.depth, 2), width: 2, nodes: min(plan.depth, 2) * 2, costs: plan.costs)
  }
}
