"""OpenAI's Responses API, for its clients: requests become chats, and answers are written in its events."""
