import EagleClient
import EagleCore

/// A server of OpenAI's API that writes the texts instead of the local target: vLLM, SGLang, llama.cpp's server or
/// `eagle-run serve`. Other settings hold it and write its keys among their own.
public struct AnswerServerConfig: Config {
  /// The server's base URL, with `/v1` or without; empty where the local target writes.
  public var url = ""
  /// The model's name on the server; empty for the first of its list.
  public var model = ""
  /// Requests of a rank that run at the same time; the server makes its batches of them.
  public var concurrency = 32

  /// Creates the settings with all defaults.
  public init() {}

  /// Whether a server writes the texts.
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
