"""How fast it is: floors, scenarios, a bare copier beside the bot, and the budgets."""
