"""Run what a command or a public function asks for, from data to artifacts."""
