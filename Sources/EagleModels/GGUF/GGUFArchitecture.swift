import EagleCore
import EagleStorage

/// The architectures of GGUF files that are computed, by llama.cpp's names. `GGUFFacts` says what each stores.
package enum GGUFArchitecture: String, CaseIterable, Sendable {
  case llama, mistral3, qwen2, qwen3
  case qwen3MoE = "qwen3moe"
  case phi3, gemma2, gemma3, granite, olmo2, smollm3, glm4
  case gptOSS = "gpt-oss"

  package init(of file: GGUFFile) throws {
    let name = try file.string("general.architecture")
    guard let match = GGUFArchitecture(rawValue: name) else {
      let known = Self.allCases.map(\.rawValue).joined(separator: ", ")
      throw LocatedError(
        path: file.path, problem: "the architecture `\(name)` is not computed", advice: "models of \(known) are")
    }
    self = match
  }

  /// `tokenizer.ggml.pre` of all byte-level models of this architecture; nil where they differ.
  package var preTokenizer: String? {
    switch self {
    case .qwen2, .qwen3, .qwen3MoE: "qwen2"
    case .gptOSS: "gpt-4o"
    default: nil
    }
  }

  /// The family of a file: two architectures stand for two families each.
  func family(of file: GGUFFile) throws -> TargetFamily {
    func isPositive(_ key: String) throws -> Bool {
      file.contains(key: "\(rawValue).\(key)") ? try file.int("\(rawValue).\(key)") > 0 : false
    }
    switch self {
    case .llama: return try isPositive("expert_count") ? .mixtral : .llama
    case .mistral3: return .ministral3
    case .qwen2: return .qwen2
    case .qwen3: return .qwen3
    case .qwen3MoE: return .qwen3MoE
    case .phi3: return .phi3
    case .gemma2: return .gemma2
    case .gemma3: return .gemma3
    case .granite: return .granite
    case .olmo2: return try isPositive("attention.sliding_window") ? .olmo3 : .olmo2
    case .smollm3: return .smollm3
    case .glm4: return .glm4
    case .gptOSS: return .gptOSS
    }
  }
}
