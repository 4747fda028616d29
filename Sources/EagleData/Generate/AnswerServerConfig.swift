import EagleClient
import EagleCore

/// A server of OpenAI's API that generates the text instead of the local target: vLLM, SGLang, llama.cpp's server or
/// `eagle-run serve`. Other settings contain it and encode its keys among their own.
public struct AnswerServerConfig: Config {
  /// The server's base URL, with or without `/v1`; empty if the local target generates.
  public var url = ""
  /// The model's name on the server; empty for the first model of its list.
  public var model = ""
  /// The number of concurrent requests of a rank, which the server batches.
  public var concurrency = 32

  /// Creates the settings with all defaults.
  public init() {}

  /// Whether a server generates the text.
  public var isUsed: Bool { !url.isEmpty }

  /// Checks the URL, and that a model is named only with a server.
  public func validate() throws {
    try require("server", isUsed ? ServerAddress.complaint(url) : nil)
    try require(
      isUsed || model.isEmpty, "server_model", "is the model of a server, and there is none: name it as server")
    try requireCount(concurrency, "concurrency")
    try require(concurrency <= 4096, "concurrency", "must be 4096 or less, not \(concurrency)")
  }
}

extension AnswerServerConfig {
  private enum CodingKeys: String, CodingKey {
    case concurrency
    case url = "server"
    case model = "server_model"
  }
}
