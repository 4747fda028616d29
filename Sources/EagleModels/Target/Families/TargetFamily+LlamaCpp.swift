extension TargetFamily {
  /// Whether llama.cpp gives an EAGLE-3 head the states of a target of this family: it does for its architectures
  /// `llama` (to which Mistral and Mixtral belong), `qwen3`, `qwen3moe` and `gpt-oss`.
  package var takesHeadInLlamaCpp: Bool {
    switch self {
    case .llama, .mistral, .ministral, .mixtral, .qwen3, .qwen3MoE, .gptOSS: true
    case .ministral3, .qwen2, .phi3, .gemma2, .gemma3, .granite, .olmo2, .olmo3, .smollm3, .glm4: false
    }
  }
}
