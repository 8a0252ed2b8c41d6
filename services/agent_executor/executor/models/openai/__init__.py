"""Any endpoint that speaks OpenAI's Chat Completions API: vLLM, Ollama, OpenAI."""
